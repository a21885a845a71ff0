"""Settings of Google Workspace by organisational unit and group: how they are read, and what we require of them."""

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from collector.api import GapKind, Http, Record, Row, Token, Unavailable, Verdict, check, fail, instant, ok, source

OVER = ("google-workspace.policies", "google-workspace.org-units")


@source(
    "google-workspace.policies",
    key="name",
    per="connection",
    permissions=("https://www.googleapis.com/auth/cloud-identity.policies.readonly",),
)
def policies(google: Http) -> Iterator[Row]:
    """Every policy the Cloud Identity API gives out: a setting, its value, and whom it is for.

    Policies of Google's own (SYSTEM) hold until one of the customer (ADMIN) with a higher order replaces a field.
    """
    yield from google.pages("/v1/policies", rows="policies", pager=Token("nextPageToken", "pageToken"), pageSize=100)


@source(
    "google-workspace.org-units",
    key="orgUnitId",
    per="connection",
    permissions=("https://www.googleapis.com/auth/admin.directory.orgunit.readonly",),
)
def org_units(google: Http) -> Iterator[Row]:
    """Every organisational unit of the customer, the one at the top included."""
    yield from google.pages(
        "/admin/directory/v1/customer/{customerId}/orgunits",
        rows="organizationUnits", customerId="my_customer", type="allIncludingParent",
    )  # fmt: skip


@check(
    "google-workspace.policies.second-step-enforced",
    title="2-step verification is enforced in Google Workspace",
    severity="critical",
    over=OVER,
)
def second_step_enforced(policies: Iterator[Record], units: Iterator[Record], *, as_of: datetime) -> Verdict:
    """Wherever enforcement of 2-step verification is set, it is on, and began before the collection.

    Source: policies.list (``security.two_step_verification_enforcement``, ``enforcedFrom``, left out where it is off).
    Remedy: *Security, Authentication, 2-step verification, Enforcement*.
    """
    values = _values(policies, units, "security.two_step_verification_enforcement", "enforcedFrom", "off")
    return _all(values, lambda on: on not in ("off", "") and instant(on) <= as_of, "enforced by the day of collection")


@check(
    "google-workspace.policies.second-step-factors",
    title="Google Workspace takes no codes by telephone as second step",
    severity="medium",
    over=OVER,
)
def second_step_factors(
    policies: Iterator[Record],
    units: Iterator[Record],
    *,
    accepted: tuple[str, ...] = (
        "NO_TELEPHONY", "PASSKEY_ONLY", "PASSKEY_PLUS_IP_BOUND_SECURITY_CODE", "PASSKEY_PLUS_SECURITY_CODE",
    ),
) -> Verdict:  # fmt: skip
    """Wherever the kinds of second step are set, they are one of the sets in ``accepted``.

    Source: policies.list (``security.two_step_verification_enforcement_factor``, ``allowedSignInFactorSet``).
    Remedy: *Security, Authentication, 2-step verification, Methods*: any except codes by text or call, or keys only.
    """
    values = _values(policies, units, "security.two_step_verification_enforcement_factor", "allowedSignInFactorSet")
    return _all(values, lambda value: value in accepted, f"one of {', '.join(accepted)}")


@check(
    "google-workspace.policies.password-length",
    title="Google Workspace asks for long passwords",
    severity="medium",
    over=OVER,
)
def password_length(policies: Iterator[Record], units: Iterator[Record], *, min_length: int = 12) -> Verdict:
    """Wherever a least length of passwords is set, it is at least ``min_length``.

    Source: policies.list (``security.password``, ``minimumLength``).
    Remedy: *Security, Authentication, Password management*.
    """
    values = _values(policies, units, "security.password", "minimumLength")
    return _all(values, lambda value: int(value) >= min_length, f"at least {min_length}")


@check(
    "google-workspace.policies.password-reuse",
    title="Google Workspace refuses earlier passwords",
    severity="low",
    over=OVER,
)
def password_reuse(policies: Iterator[Record], units: Iterator[Record]) -> Verdict:
    """Wherever the reuse of passwords is set, it is refused.

    Source: policies.list (``security.password``, ``allowReuse``).
    Remedy: *Security, Authentication, Password management*.
    """
    return _all(_values(policies, units, "security.password", "allowReuse"), lambda value: value is False, "False")


@check(
    "google-workspace.policies.session-length",
    title="Google Workspace sessions end",
    severity="medium",
    over=OVER,
)
def session_length(policies: Iterator[Record], units: Iterator[Record], *, max_session_h: int = 24) -> Verdict:
    """Wherever the length of a web session is set, it is at most ``max_session_h`` hours; 0 means without end.

    Source: policies.list (``security.session_controls``, ``webSessionDuration``).
    Remedy: *Security, Access and data control, Google session control*.
    """
    values = _values(policies, units, "security.session_controls", "webSessionDuration")
    return _all(values, lambda value: 0 < _seconds(value) <= max_session_h * 3600, f"at most {max_session_h} hours")


@check(
    "google-workspace.policies.drive-sharing",
    title="Files in Google Drive are shared outside only with declared domains",
    severity="high",
    over=OVER,
)
def drive_sharing(
    policies: Iterator[Record],
    units: Iterator[Record],
    *,
    accepted: tuple[str, ...] = ("ALLOWLISTED_DOMAINS", "DISALLOWED"),
) -> Verdict:
    """Wherever sharing outside is set, its mode is in ``accepted``.

    Where trust rules for Drive are on, they replace this setting, and the API does not show them.
    Source: policies.list (``drive_and_docs.external_sharing``, ``externalSharingMode``).
    Remedy: *Apps, Google Workspace, Drive and Docs, Sharing settings*.
    """
    values = _values(policies, units, "drive_and_docs.external_sharing", "externalSharingMode")
    return _all(values, lambda value: value in accepted, " or ".join(accepted))


@check(
    "google-workspace.policies.drive-publishing",
    title="Files in Google Drive are not published to everybody",
    severity="high",
    over=OVER,
)
def drive_publishing(policies: Iterator[Record], units: Iterator[Record]) -> Verdict:
    """Wherever publishing is set, users cannot make a file visible to anybody with the link or on the web.

    Source: policies.list (``drive_and_docs.external_sharing``, ``allowPublishingFiles``).
    Remedy: *Apps, Google Workspace, Drive and Docs, Sharing settings*.
    """
    values = _values(policies, units, "drive_and_docs.external_sharing", "allowPublishingFiles")
    return _all(values, lambda value: value is False, "False")


@check(
    "google-workspace.policies.no-auto-forwarding",
    title="Mail in Google Workspace is not forwarded by itself",
    severity="medium",
    over=OVER,
)
def no_auto_forwarding(policies: Iterator[Record], units: Iterator[Record]) -> Verdict:
    """Wherever forwarding is set, users cannot have their mail forwarded to another address by itself.

    Source: policies.list (``gmail.auto_forwarding``, ``enableAutoForwarding``).
    Remedy: *Apps, Google Workspace, Gmail, End user access, Automatic forwarding*.
    """
    values = _values(policies, units, "gmail.auto_forwarding", "enableAutoForwarding")
    return _all(values, lambda value: value is False, "False")


@check(
    "google-workspace.policies.super-admin-recovery",
    title="Super administrators of Google Workspace cannot recover their account by themselves",
    severity="medium",
    over=OVER,
)
def super_admin_recovery(policies: Iterator[Record], units: Iterator[Record]) -> Verdict:
    """Wherever it is set, super administrators cannot recover a lost password with a telephone or another address.

    Source: policies.list (``security.super_admin_account_recovery``, ``enableAccountRecovery``).
    Remedy: *Security, Authentication, Account recovery*.
    """
    values = _values(policies, units, "security.super_admin_account_recovery", "enableAccountRecovery")
    return _all(values, lambda value: value is False, "False")


def _values(
    policies: Iterator[Record], units: Iterator[Record], kind: str, field: str, left_out: Any = None
) -> dict[str, Any]:
    """What holds of one field wherever it is set, by organisational unit or group: the value with the highest order.

    A unit where it is not set has that of the unit above. Where only the field was left out, the value is ``left_out``.
    A policy for the holders of a licence stands apart, unless one for everybody in the same place has a higher order.

    Raises:
        Unavailable: the setting is nowhere (kind ``unsupported``): the edition, or the API, does not have it.
    """
    paths = {unit["orgUnitId"].removeprefix("id:"): unit["orgUnitPath"] for unit in units}
    found: dict[tuple[str, str], tuple[float, Any]] = {}
    for policy in policies:
        if policy["setting"]["type"].removeprefix("settings/") != kind:
            continue
        query = policy["policyQuery"]
        unit = query.get("orgUnit", "").removeprefix("orgUnits/")  # left out for a policy of a group
        where = query["group"] if "group" in query else paths.get(unit, unit)
        only = ", ".join(re.findall(r"'(/product/[^']*)'", query["query"]))
        order, value = query["sortOrder"], policy["setting"]["value"].get(field, left_out)
        held = found.get((where, only))
        if held is None or (value is not None and (held[1] is None or order > held[0])):
            found[where, only] = (order, value)
    if not found:
        raise Unavailable(GapKind.UNSUPPORTED, f"no policy of the kind {kind} is in the list")
    told = {}
    for (where, only), (order, value) in found.items():
        everybody = found.get((where, ""))
        if not only:
            told[where] = value
        elif everybody is None or everybody[1] is None or order > everybody[0]:
            told[f"{where} with the licence {only}"] = value
    return told


def _all(values: dict[str, Any], right: Callable[[Any], bool], wanted: str) -> Verdict:
    """Whether every value that is set is right.

    Raises:
        Unavailable: the field is set nowhere (kind ``unsupported``); or all that is set is right, and nothing is told
            of the unit at the top, so that what holds elsewhere is not known (kind ``unproven``).
    """
    told = {where: value for where, value in values.items() if value is not None}
    if not told:
        raise Unavailable(GapKind.UNSUPPORTED, "the policies of this kind do not have the field")
    bad = [f"{where}: {value}" for where, value in sorted(told.items()) if not right(value)]
    if bad:
        return fail(f"{len(bad)} of {len(told)} are not: {'; '.join(bad[:10])}, wanted {wanted}")
    if not any(where.partition(" with ")[0] == "/" for where in told):
        raise Unavailable(GapKind.UNPROVEN, f"the setting is told for {', '.join(sorted(told)[:5])}, not at the top")
    return ok("; ".join(f"{where}: {value}" for where, value in sorted(told.items())[:10]) + f", wanted {wanted}")


def _seconds(value: str) -> float:
    """A duration as the API spells it, ``86400s``."""
    return float(value.removesuffix("s"))
