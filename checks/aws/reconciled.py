"""Evidence held against other evidence: lists against independent lists and counts, the collected against what exists.

A failure here says nothing of the estate. It says that two replies about the same thing disagree, so that neither may
be relied on until it is known why.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from collector.api import Aws, Record, Row, Unavailable, Verdict, check, fail, instant, ok, skip, source
from collector.model import GapKind

ROOT = "<root_account>"
FLAG = {"true": True, "false": False}


@source(
    "aws.iam.virtual-mfa-devices", key="SerialNumber", per="account", permissions=("iam:ListVirtualMFADevices",),
    filters="devices that are assigned to somebody",
)  # fmt: skip
def virtual_mfa_devices(aws: Aws) -> Iterator[Row]:
    """Every virtual MFA device that somebody signs in with; keys and other hardware are in no list of the account."""
    yield from aws.pages(
        "iam", "list_virtual_mfa_devices", rows="VirtualMFADevices", AssignmentStatus="Assigned", MaxItems=1000
    )


@source("aws.ec2.regions", key="RegionName", per="account", permissions=("ec2:DescribeRegions",))
def regions(aws: Aws) -> Iterator[Row]:
    """Every region AWS offers the account, enabled or not."""
    yield from aws.call("ec2", "describe_regions", AllRegions=True)["Regions"]


@check(
    "aws.iam.users-reconciled",
    title="The evidence agrees on the users: list, credential report and account summary",
    severity="high",
    over=("aws.iam.users", "aws.iam.credential-report", "aws.iam.account-summary"),
    reconciles=("aws.iam.users", "aws.iam.credential-report"),
)
def users_reconciled(users: Iterator[Record], report: Iterator[Record], summaries: Iterator[Record]) -> Verdict:
    """The users listed are as many as IAM counts, and the same as in the credential report.

    A user made after the report is not expected in it. A user deleted between two of the replies is told as a
    disagreement. Source: GetAccountAuthorizationDetails (``UserName``, ``CreateDate``), the credential report
    (``user``, ``GeneratedTime``), GetAccountSummary (``Users``).
    Remedy: collect again; if it stays, find out which reply leaves somebody out before relying on any of them.
    """
    listed = {user["UserName"]: user["CreateDate"] for user in users}
    lines = list(report)
    if told := _miscounted("users", len(listed), "Users", summaries):
        return fail(told)
    made = _generated(lines)
    reported = {line["user"] for line in lines} - {ROOT}
    expected = {name for name, created in listed.items() if instant(created) <= made}
    if expected - reported or reported - listed.keys():
        return fail(
            f"not in the credential report: {_named(expected - reported)}; "
            f"in the report and not listed: {_named(reported - listed.keys())}, limit none of either"
        )
    return ok(
        f"{len(listed)} users are listed, as many as IAM counts, and {len(reported)} are in the credential report"
    )


@check(
    "aws.iam.groups-reconciled",
    title="The evidence agrees on the groups: list and account summary",
    severity="high",
    over=("aws.iam.groups", "aws.iam.account-summary"),
    reconciles=("aws.iam.groups",),
)
def groups_reconciled(groups: Iterator[Record], summaries: Iterator[Record]) -> Verdict:
    """The groups listed are as many as IAM counts.

    Source: GetAccountAuthorizationDetails (``GroupDetailList``), GetAccountSummary (``Groups``).
    Remedy: collect again; if it stays, find out which reply is short before relying on either.
    """
    return _counted("groups", groups, "Groups", summaries)


@check(
    "aws.iam.roles-reconciled",
    title="The evidence agrees on the roles: list and account summary",
    severity="high",
    over=("aws.iam.roles", "aws.iam.account-summary"),
    reconciles=("aws.iam.roles",),
)
def roles_reconciled(roles: Iterator[Record], summaries: Iterator[Record]) -> Verdict:
    """The roles listed are as many as IAM counts.

    Source: GetAccountAuthorizationDetails (``RoleDetailList``), GetAccountSummary (``Roles``).
    Remedy: collect again; if it stays, find out which reply is short before relying on either.
    """
    return _counted("roles", roles, "Roles", summaries)


@check(
    "aws.iam.policies-reconciled",
    title="The evidence agrees on the policies of the account: list and account summary",
    severity="high",
    over=("aws.iam.policies", "aws.iam.account-summary"),
    reconciles=("aws.iam.policies",),
)
def policies_reconciled(policies: Iterator[Record], summaries: Iterator[Record]) -> Verdict:
    """The managed policies listed are as many as IAM counts in the account.

    Source: GetAccountAuthorizationDetails (``Policies``), GetAccountSummary (``Policies``).
    Remedy: collect again; if it stays, find out which reply is short before relying on either.
    """
    return _counted("policies", policies, "Policies", summaries)


@check(
    "aws.iam.access-keys-reconciled",
    title="The evidence agrees on the active access keys: list and credential report",
    severity="high",
    over=("aws.iam.access-keys", "aws.iam.credential-report"),
    reconciles=("aws.iam.access-keys",),
)
def access_keys_reconciled(keys: Iterator[Record], report: Iterator[Record]) -> Verdict:
    """Every user has as many active access keys in the list as in the credential report.

    The report does not tell an inactive key from none, so inactive keys are not compared; keys made after the report
    are not expected in it. Source: ListAccessKeys (``Status``, ``CreateDate``), the credential report
    (``access_key_N_active``, ``GeneratedTime``).
    Remedy: collect again four hours later, when the report is made anew; if it stays, find out which reply is short.
    """
    lines = list(report)
    made = _generated(lines)
    active = [key for key in keys if key["Status"] == "Active" and instant(key["CreateDate"]) <= made]
    listed = Counter(key["UserName"] for key in active)
    reported = Counter(
        {
            line["user"]: FLAG[line["access_key_1_active"]] + FLAG[line["access_key_2_active"]]
            for line in lines
            if line["user"] != ROOT
        }
    )
    if listed != reported:
        differ = {user for user in {*listed, *reported} if listed[user] != reported[user]}
        return fail(
            f"{listed.total()} active keys are listed, the credential report tells of {reported.total()}; "
            f"they differ for {_named(differ)}, limit nobody"
        )
    return ok(f"{listed.total()} active keys are listed, user by user as many as in the credential report")


@check(
    "aws.iam.mfa-devices-reconciled",
    title="The evidence agrees on who has a second factor: virtual devices and credential report",
    severity="high",
    over=("aws.iam.virtual-mfa-devices", "aws.iam.credential-report"),
)
def mfa_devices_reconciled(devices: Iterator[Record], report: Iterator[Record]) -> Verdict:
    """Everybody who holds a virtual MFA device has MFA by the credential report.

    Not the other way round: the list does not hold keys and other hardware, so MFA without a virtual device is told and
    is no disagreement. A device enabled after the report is not expected in it; the root user is compared by
    aws.iam.root-mfa. Source: ListVirtualMFADevices (``User``, ``EnableDate``), the credential report (``mfa_active``).
    Remedy: collect again four hours later, when the report is made anew; if it stays, find out which reply is wrong.
    """
    lines = list(report)
    made = _generated(lines)
    holders = {
        device["User"]["UserName"]
        for device in devices
        if not device["User"]["Arn"].endswith(":root") and instant(device["EnableDate"]) <= made
    }
    reported = {line["user"] for line in lines if FLAG[line["mfa_active"]]} - {ROOT}
    if holders - reported:
        return fail(f"with a device and without MFA in the report: {_named(holders - reported)}, limit none")
    return ok(
        f"all {len(holders)} holders of a virtual device have MFA by the credential report; "
        f"{len(reported - holders)} more have another kind"
    )


@check(
    "aws.ec2.regions-collected",
    title="Every region that is enabled is among those that are collected",
    severity="high",
    each="aws.ec2.regions",
)
def regions_collected(region: Record, *, collected_regions: tuple[str, ...] = ()) -> Verdict:
    """A region in which the account can hold resources is one of ``collected_regions``.

    Unless it is set, ``collected_regions`` is what the plan reads: the regions of every AWS connection of the run.
    Source: DescribeRegions of all regions (``OptInStatus``). Regions that are not enabled are skipped.
    Remedy: add the region to ``regions`` of the connection, or disable it.
    """
    if region["OptInStatus"] == "not-opted-in":
        return skip("the region is not enabled")
    known = ", ".join(sorted(collected_regions)) or "none"
    told = f"the region is enabled ({region['OptInStatus']})"
    if region["RegionName"] in collected_regions:
        return ok(f"{told} and collected")
    return fail(f"{told} and not collected; collected: {known}")


def _counted(what: str, listed: Iterable[Record], field: str, summaries: Iterator[Record]) -> Verdict:
    """Whether a list is as long as IAM counts."""
    number = sum(1 for _ in listed)
    told = _miscounted(what, number, field, summaries)
    return fail(told) if told else ok(f"{number} {what} are listed, as many as IAM counts")


def _miscounted(what: str, number: int, field: str, summaries: Iterator[Record]) -> str:
    """In words how a list differs from what IAM counts; empty where it does not."""
    (row,) = summaries
    counted = row["GetAccountSummary"]["SummaryMap"][field]
    return "" if number == counted else f"{number} {what} are listed, the account summary counts {counted}"


def _generated(lines: Sequence[Record]) -> datetime:
    """When the credential report was made.

    Raises:
        Unavailable: it does not name the root user once, as every report does (kind ``unproven``).
    """
    roots = [line for line in lines if line["user"] == ROOT]
    if len(roots) != 1:
        raise Unavailable(GapKind.UNPROVEN, f"the credential report has {len(roots)} lines for the root user, not 1")
    return instant(roots[0]["GeneratedTime"])


def _named(names: Iterable[str], most: int = 10) -> str:
    """The first names, and how many more there are."""
    found = sorted(names)
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return (", ".join(found[:most]) + more) or "none"
