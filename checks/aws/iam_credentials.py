"""Passwords, second factors and access keys of AWS users."""

import base64
import csv
import io
from collections.abc import Iterator
from datetime import datetime

from collector.api import Aws, Record, Row, Unavailable, Verdict, check, days_between, fail, instant, ok, skip, source
from collector.model import GapKind

ROOT = "<root_account>"
GET_REPORT = "iam:GetCredentialReport"
POLLS = 40
PAUSE_S = 3.0
NO_TIME = ("N/A", "no_information", "not_supported")
"""What the credential report writes where there is no time: nothing to tell, never recorded, not for this user."""
FLAG = {"true": True, "false": False}


@source(
    "aws.iam.credential-report",
    key="user",
    per="account",
    permissions=("iam:GenerateCredentialReport", "iam:GetCredentialReport"),
    fresh="GeneratedTime",
    max_age_h=24,
)
def credential_report(aws: Aws) -> Iterator[Row]:
    """One row per user of the account and one for its root user, as AWS writes them; at most 4 hours old."""
    _generate(aws)
    report = aws.call("iam", "get_credential_report")
    text = base64.b64decode(report["Content"]).decode("utf8")
    for line in csv.DictReader(io.StringIO(text)):
        if None in line or None in line.values():
            raise Unavailable(GapKind.MALFORMED, "the credential report has a line of another length", GET_REPORT)
        yield {**line, "GeneratedTime": report["GeneratedTime"]}


def _generate(aws: Aws) -> None:
    """Return once the report is ready.

    Raises:
        Unavailable: it is still not, after two minutes (kind ``timeout``).
    """
    for poll in range(POLLS):
        if poll:
            aws.pause(PAUSE_S)
        state = aws.call("iam", "generate_credential_report")["State"]
        if state == "COMPLETE":
            return
    raise Unavailable(
        GapKind.TIMEOUT,
        f"the credential report was still not made after {POLLS} requests (State is {state})",
        "iam:GenerateCredentialReport",
    )


@source(
    "aws.iam.access-keys",
    key="AccessKeyId",
    per="account",
    permissions=("iam:ListUsers", "iam:ListAccessKeys", "iam:GetAccessKeyLastUsed"),
)
def access_keys(aws: Aws) -> Iterator[Row]:
    """Every access key of every user, active or not; keys of the root user are told by the account summary only."""
    users = aws.pages("iam", "list_users", rows="Users", MaxItems=1000)
    for keys in aws.ahead((_keys(aws, user["UserName"]),) for user in users):
        for key in keys[0] or ():
            yield {
                **key,
                "GetAccessKeyLastUsed": aws.attempt("iam", "get_access_key_last_used", AccessKeyId=key["AccessKeyId"]),
            }


def _keys(aws: Aws, user: str) -> object:
    """The user's keys, or nothing if the user was deleted since the users were listed."""
    return aws.attempt_all(
        "iam", "list_access_keys", rows="AccessKeyMetadata", absent=("NoSuchEntity",), UserName=user
    )


@check(
    "aws.iam.root-not-used",
    title="The root user is not used for daily work",
    severity="high",
    over=("aws.iam.credential-report",),
)
def root_not_used(report: Iterator[Record], *, as_of: datetime, min_unused_days: int = 90) -> Verdict:
    """Neither the password nor an access key of the root user was used in the last ``min_unused_days`` days.

    Source: credential report, ``<root_account>`` (``password_last_used``, ``access_key_N_last_used_date``).
    Remedy: do the work with a role; keep root for what only root can do, and record each use.
    """
    root = [user for user in report if user["user"] == ROOT]
    if len(root) != 1:
        raise Unavailable(GapKind.UNPROVEN, f"the credential report has {len(root)} lines for the root user, not 1")
    columns = ("password_last_used", "access_key_1_last_used_date", "access_key_2_last_used_date")
    used = [moment for column in columns if (moment := _moment(root[0][column]))]
    if not used:
        return ok("the credential report knows of no use of the root user")
    days = days_between(max(used), as_of)
    told = f"the root user was last used {days} days ago, limit {min_unused_days} days without use"
    return ok(told) if days >= min_unused_days else fail(told)


@check(
    "aws.iam.console-user-mfa",
    title="Users with a console password have a second factor",
    severity="critical",
    each="aws.iam.credential-report",
)
def console_user_mfa(user: Record) -> Verdict:
    """A user who can sign in to the console has an MFA device.

    Source: credential report (``password_enabled``, ``mfa_active``). The root user has a check of its own.
    Remedy: ``aws iam enable-mfa-device``, or take the password away and let the user come by single sign-on.
    """
    if user["user"] == ROOT:
        return skip("the root user is judged by aws.iam.root-mfa")
    if not FLAG[user["password_enabled"]]:
        return skip("the user has no console password")
    if FLAG[user["mfa_active"]]:
        return ok("the user has a console password and MFA")
    return fail("the user has a console password and no MFA")


@check(
    "aws.iam.console-password-in-use",
    title="Console passwords belong to users who sign in",
    severity="medium",
    each="aws.iam.credential-report",
)
def console_password_in_use(user: Record, *, as_of: datetime, max_unused_days: int = 90) -> Verdict:
    """A console password was used, or if never used was set, in the last ``max_unused_days`` days.

    Source: credential report (``password_enabled``, ``password_last_used``, ``password_last_changed``).
    Remedy: ``aws iam delete-login-profile``.
    """
    if user["user"] == ROOT:
        return skip("the root user is judged by aws.iam.root-not-used")
    if not FLAG[user["password_enabled"]]:
        return skip("the user has no console password")
    used = _moment(user["password_last_used"])
    since = used or _moment(user["password_last_changed"])
    if since is None:
        raise Unavailable(GapKind.UNPROVEN, "the credential report tells neither use nor setting of the password")
    days = days_between(since, as_of)
    told = "last used" if used else "never used and set"
    told = f"the password was {told} {days} days ago, limit {max_unused_days} days"
    return ok(told) if days <= max_unused_days else fail(told)


@check(
    "aws.iam.single-active-access-key",
    title="Users have at most one active access key",
    severity="low",
    each="aws.iam.credential-report",
)
def single_active_access_key(user: Record) -> Verdict:
    """A user has no second active access key, as there is for the days of a rotation only.

    Source: credential report (``access_key_1_active``, ``access_key_2_active``).
    Remedy: ``aws iam update-access-key --status Inactive`` for the older one, then delete it.
    """
    if user["user"] == ROOT:
        return skip("the root user is judged by aws.iam.root-no-access-keys")
    active = [FLAG[user["access_key_1_active"]], FLAG[user["access_key_2_active"]]].count(True)
    told = f"the user has {active} active access keys, limit 1"
    return ok(told) if active <= 1 else fail(told)


@check(
    "aws.iam.access-key-rotated",
    title="Active access keys are changed in time",
    severity="high",
    each="aws.iam.access-keys",
)
def access_key_rotated(key: Record, *, as_of: datetime, max_age_days: int = 90) -> Verdict:
    """An active access key is at most ``max_age_days`` old.

    Source: ListAccessKeys (``Status``, ``CreateDate``). Inactive keys cannot be used and are skipped.
    Remedy: make a second key, move what uses the first, then delete the first; better, use a role.
    """
    if _is_inactive(key):
        return skip(f"the key of {key['UserName']} is {key['Status'].lower()}")
    days = days_between(instant(key["CreateDate"]), as_of)
    told = f"the key of {key['UserName']} is {days} days old, limit {max_age_days} days"
    return ok(told) if days <= max_age_days else fail(told)


@check(
    "aws.iam.access-key-in-use",
    title="Active access keys are in use",
    severity="medium",
    each="aws.iam.access-keys",
)
def access_key_in_use(key: Record, *, as_of: datetime, max_unused_days: int = 90) -> Verdict:
    """An active access key was used, or if never used was made, in the last ``max_unused_days`` days.

    Source: GetAccessKeyLastUsed (``LastUsedDate``), ListAccessKeys (``Status``, ``CreateDate``).
    Remedy: ``aws iam update-access-key --status Inactive``, and delete the key when nothing misses it.
    """
    if _is_inactive(key):
        return skip(f"the key of {key['UserName']} is {key['Status'].lower()}")
    used = key["GetAccessKeyLastUsed"]["AccessKeyLastUsed"].get("LastUsedDate")  # left out for a key never used
    days = days_between(instant(used or key["CreateDate"]), as_of)
    told = "was last used" if used else "was never used and made"
    told = f"the key of {key['UserName']} {told} {days} days ago, limit {max_unused_days} days"
    return ok(told) if days <= max_unused_days else fail(told)


def _is_inactive(key: Record) -> bool:
    return {"Active": False, "Inactive": True, "Expired": True}[key["Status"]]


def _moment(text: str) -> datetime | None:
    """A time of the credential report; ``None`` for the words it writes instead."""
    return None if text in NO_TIME else instant(text)
