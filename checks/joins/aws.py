"""AWS IAM users and their keys held against the organisation's own registers."""

from datetime import datetime
from fnmatch import fnmatchcase

from collector.api import Record, Table, Verdict, check, skip
from collector.registers.matching import PEOPLE, RULES, approved, no_leaver, owned, owner

ROOT = "<root_account>"
"""Name of the root user in the credential report."""

WIDE = ("arn:aws*:iam::aws:policy/AdministratorAccess", "arn:aws*:iam::aws:policy/IAMFullAccess")
"""Policies with which a user may do anything, or give themselves the right to."""


@check(
    "joins.aws.leavers-keys",
    title="Nobody who left has an active AWS access key",
    severity="critical",
    each="aws.iam.access-keys",
    beside=PEOPLE,
)
def leavers_keys(
    key: Record,
    people: Table,
    identities: Table,
    *,
    as_of: datetime,
    scope: str,
    max_days: int = 1,
    rules: tuple[str, ...] = RULES,
) -> Verdict:
    """An active access key belongs to nobody who left more than ``max_days`` before the day of collection.

    A user is matched with a person by ``rules``: a row of identities.csv, or a user name that is an address.
    Source: ListAccessKeys (``UserName``, ``Status``), GetAccessKeyLastUsed; people.csv, identities.csv.
    Remedy: deactivate the key, then delete it; correct people.csv where the person is still here.
    """
    if key["Status"] != "Active":
        return skip(f"the key is {key['Status']}")
    user = key["UserName"]
    last = key["GetAccessKeyLastUsed"]["AccessKeyLastUsed"].get("LastUsedDate")  # left out where it never was
    used = f"last used on {last.partition('T')[0]}" if last else "never used"
    held = f"the access key {key['AccessKeyId']} of {user} is active, {used}"
    return no_leaver(owner(people, identities, (scope, "aws"), user, (user,), as_of, rules), held, as_of, max_days)


@check(
    "joins.aws.leavers-console",
    title="Nobody who left can sign in to the AWS console",
    severity="critical",
    each="aws.iam.credential-report",
    beside=PEOPLE,
)
def leavers_console(
    user: Record,
    people: Table,
    identities: Table,
    *,
    as_of: datetime,
    scope: str,
    max_days: int = 1,
    rules: tuple[str, ...] = RULES,
) -> Verdict:
    """An IAM user with a password belongs to nobody who left more than ``max_days`` before the day of collection.

    Source: GetCredentialReport (``user``, ``password_enabled``, ``mfa_active``); people.csv, identities.csv.
    Remedy: delete the login profile of the user.
    """
    name = user["user"]
    if name == ROOT or user["password_enabled"] != "true":  # noqa: S105
        return skip("has no password of its own" if name != ROOT else "the root user belongs to the account")
    held = f"the IAM user {name} has a password, second factor {'yes' if user['mfa_active'] == 'true' else 'no'}"
    return no_leaver(owner(people, identities, (scope, "aws"), name, (name,), as_of, rules), held, as_of, max_days)


@check(
    "joins.aws.owned",
    title="Every IAM user belongs to a person of the register, or to a declared service",
    severity="medium",
    each="aws.iam.users",
    beside=PEOPLE,
)
def users_owned(
    user: Record,
    people: Table,
    identities: Table,
    *,
    as_of: datetime,
    scope: str,
    service_accounts: tuple[str, ...] = (),
    rules: tuple[str, ...] = RULES,
) -> Verdict:
    """An IAM user is matched with a person, or its name is one of ``service_accounts`` (with ``*``).

    Source: GetAccountAuthorizationDetails (``UserName``); people.csv, identities.csv.
    Remedy: delete the user, or write its person into identities.csv.
    """
    name = user["UserName"]
    return owned(owner(people, identities, (scope, "aws"), name, (name,), as_of, rules), name, service_accounts)


@check(
    "joins.aws.privileged-approved",
    title="IAM users with administrator rights were approved by somebody else",
    severity="high",
    each="aws.iam.users",
    beside=("aws.iam.groups", *PEOPLE, "register.access-requests"),
)
def privileged_approved(
    user: Record,
    groups: Table,
    people: Table,
    identities: Table,
    requests: Table,
    *,
    as_of: datetime,
    scope: str,
    policies: tuple[str, ...] = WIDE,
    rules: tuple[str, ...] = RULES,
) -> Verdict:
    """A user with one of ``policies`` (ARN, with ``*``), alone or in a group, has a request approved by somebody else.

    The request is for privileged access and still in force. Rights by inline policies, by policies of the account's
    own, and by roles that a user may take are not seen.
    Source: GetAccountAuthorizationDetails (``AttachedManagedPolicies``, ``GroupList``); access-requests.csv.
    Remedy: detach the policy, or have the rights requested and approved.
    """
    own_groups = [
        group
        for name in user["GroupList"]
        for group in groups.where("GroupName", name)
        if group["Arn"].split(":")[4] == user["Arn"].split(":")[4]  # other accounts of the run have groups as well
    ]
    attached = [policy["PolicyArn"] for one in (user, *own_groups) for policy in one["AttachedManagedPolicies"]]
    if not any(fnmatchcase(arn, pattern) for arn in attached for pattern in policies):
        return skip("has no policy that gives administrator rights")
    name = user["UserName"]
    found = owner(people, identities, (scope, "aws"), name, (name,), as_of, rules)
    return approved(requests, people, found, name, (scope, "aws"), as_of)
