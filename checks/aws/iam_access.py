"""What AWS users, groups, roles and policies may do, and who may become a role."""

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from collector.api import Aws, Record, Row, Verdict, check, days_between, fail, instant, ok, skip, source
from collector.iam_policy import (
    Statement,
    account_of,
    allows,
    condition_values,
    covers,
    grants_all,
    is_narrowed,
    is_public,
    listed,
    on_everything,
    principals,
    statements,
)

PERMISSIONS = ("iam:GetAccountAuthorizationDetails",)

ADMINISTRATOR = re.compile(r"arn:aws[a-z-]*:iam::aws:policy/AdministratorAccess")

ANY_OF_A_KIND = re.compile(r"arn:[^:]*:(iam|lambda):[^:]*:[^:]*:(\*|(user|group|role|policy|function)[/:]\*)")
"""An ARN that stands for every user, group, role, policy or function of an account."""

NOT_SPELT_OUT = re.compile(r"[*?$]|^$")
"""A condition's value with a wildcard or a variable, or none."""

PASSED_TO = (
    "cloudformation:CreateStack", "codebuild:CreateProject", "datapipeline:CreatePipeline", "ec2:RunInstances",
    "ecs:RegisterTaskDefinition", "glue:CreateDevEndpoint", "glue:CreateJob", "lambda:CreateFunction",
    "sagemaker:CreateNotebookInstance", "ssm:StartAutomationExecution",
)  # fmt: skip
"""Actions that run the caller's own code with a role passed to the service."""

ESCALATIONS: tuple[tuple[str, ...], ...] = (
    ("iam:AddUserToGroup",), ("iam:AttachGroupPolicy",), ("iam:AttachRolePolicy",), ("iam:AttachUserPolicy",),
    ("iam:CreateAccessKey",), ("iam:CreateLoginProfile",), ("iam:CreatePolicyVersion",), ("iam:PutGroupPolicy",),
    ("iam:PutRolePolicy",), ("iam:PutUserPolicy",), ("iam:SetDefaultPolicyVersion",), ("iam:UpdateAssumeRolePolicy",),
    ("iam:UpdateLoginProfile",), ("sts:AssumeRole",), ("lambda:UpdateFunctionCode",),
    *(("iam:PassRole", action) for action in PASSED_TO),
)  # fmt: skip
"""Known paths: who may do the first action on any target, and the others at all, gets rights nobody gave."""

SHARED_ISSUERS = (
    "accounts.google.com", "agent.buildkite.com", "app.terraform.io", "cognito-identity.amazonaws.com", "gitlab.com",
    "graph.facebook.com", "oidc.vercel.com", "token.actions.githubusercontent.com", "www.amazon.com",
)  # fmt: skip
"""Identity providers where anyone can get a token: the trust must name whose."""

CONSUMER_ISSUERS = ("accounts.google.com", "cognito-identity.amazonaws.com", "graph.facebook.com", "www.amazon.com")
"""Those of them whose tokens are made for one application, so that naming the application is enough."""


# ---------------------------------------------------------------------------------------------------------- sources


@source(
    "aws.iam.users", key="UserName", per="account", permissions=PERMISSIONS,
    filters="of the authorization details, the users",
)  # fmt: skip
def users(aws: Aws) -> Iterator[Row]:
    """Every user of the account, with its groups and policies."""
    yield from _details(aws, "User", "UserDetailList")


@source(
    "aws.iam.groups", key="GroupName", per="account", permissions=PERMISSIONS,
    filters="of the authorization details, the groups",
)  # fmt: skip
def groups(aws: Aws) -> Iterator[Row]:
    """Every group of the account, with its policies."""
    yield from _details(aws, "Group", "GroupDetailList")


@source(
    "aws.iam.roles", key="RoleName", per="account", permissions=PERMISSIONS,
    filters="of the authorization details, the roles",
)  # fmt: skip
def roles(aws: Aws) -> Iterator[Row]:
    """Every role of the account, with its trust policy, its policies and its last use."""
    yield from _details(aws, "Role", "RoleDetailList")


@source(
    "aws.iam.policies", key="Arn", per="account", permissions=PERMISSIONS,
    filters="policies of the customer, none of AWS itself",
)  # fmt: skip
def policies(aws: Aws) -> Iterator[Row]:
    """Every managed policy written in the account, in use or not, with all its versions."""
    yield from _details(aws, "LocalManagedPolicy", "Policies")


def _details(aws: Aws, kind: str, rows: str) -> Iterator[Row]:
    return aws.pages("iam", "get_account_authorization_details", rows=rows, Filter=[kind], MaxItems=1000)


# --------------------------------------------------------------------------------------------------------- policies


@check(
    "aws.iam.no-admin-policies",
    title="No managed policy of the account grants everything",
    severity="high",
    each="aws.iam.policies",
)
def no_admin_policies(policy: Record) -> Verdict:
    """The version in force of a policy written in the account does not allow every action on every resource.

    A grant under a condition counts. Inline policies are judged by aws.iam.no-admin-inline-policies.
    Source: GetAccountAuthorizationDetails (``PolicyVersionList``, ``IsDefaultVersion``).
    Remedy: write down the actions that are needed, make a new default version, delete the old one.
    """
    found = statements(_in_force(policy))
    used = f"attached {policy['AttachmentCount']} times"
    if any(grants_all(statement) for statement in found):
        return fail(f"the policy allows every action on every resource, {used}")
    return ok(f"none of {len(found)} statements allows every action on every resource, {used}")


@check(
    "aws.iam.no-admin-inline-policies",
    title="No inline policy grants everything",
    severity="high",
    over=("aws.iam.users", "aws.iam.groups", "aws.iam.roles"),
)
def no_admin_inline_policies(
    users: Iterator[Record], groups: Iterator[Record], roles: Iterator[Record]
) -> Verdict:
    """No policy embedded in a user, a group or a role allows every action on every resource.

    Source: GetAccountAuthorizationDetails (``UserPolicyList``, ``GroupPolicyList``, ``RolePolicyList``).
    Remedy: replace the policy by one that names the actions that are needed.
    """
    found = [
        (name, any(grants_all(statement) for statement in document)) for name, document in _inline(users, groups, roles)
    ]
    return _none_of("every action on every resource", found)


@check(
    "aws.iam.no-escalation-policies",
    title="No managed policy of the account lets its holder get more rights by a known path",
    severity="high",
    each="aws.iam.policies",
)
def no_escalation_policies(policy: Record) -> Verdict:
    """The version in force does not allow a known path to more rights over a target of the holder's choice.

    A path counts when one policy allows the whole of it, even under a condition; changing or passing named identities,
    or the holder's own (``${aws:username}``), does not. A policy that grants everything is skipped here.
    Source: GetAccountAuthorizationDetails (``PolicyVersionList``, ``IsDefaultVersion``).
    Remedy: name the roles that may be passed or changed in ``Resource``.
    """
    found = statements(_in_force(policy))
    if any(grants_all(statement) for statement in found):
        return skip("the policy grants everything, which is judged by aws.iam.no-admin-policies")
    paths = _escalations(found)
    used = f"attached {policy['AttachmentCount']} times"
    if paths:
        return fail(f"the policy allows {_named(paths)}, {used}")
    return ok(f"none of {len(ESCALATIONS)} known paths to more rights is allowed, {used}")


@check(
    "aws.iam.no-escalation-inline-policies",
    title="No inline policy lets its holder get more rights by a known path",
    severity="high",
    over=("aws.iam.users", "aws.iam.groups", "aws.iam.roles"),
)
def no_escalation_inline_policies(
    users: Iterator[Record], groups: Iterator[Record], roles: Iterator[Record]
) -> Verdict:
    """No policy embedded in a user, a group or a role allows a known path; see aws.iam.no-escalation-policies.

    Source: GetAccountAuthorizationDetails (``UserPolicyList``, ``GroupPolicyList``, ``RolePolicyList``).
    Remedy: name the roles that may be passed or changed in ``Resource``.
    """
    found = [
        (name, not any(grants_all(statement) for statement in document) and bool(_escalations(document)))
        for name, document in _inline(users, groups, roles)
    ]
    return _none_of("a known path to more rights", found)


@check(
    "aws.iam.no-direct-user-policies",
    title="Users get their rights through groups",
    severity="low",
    each="aws.iam.users",
)
def no_direct_user_policies(user: Record) -> Verdict:
    """No policy is attached to or embedded in a user.

    Source: GetAccountAuthorizationDetails (``AttachedManagedPolicies``, ``UserPolicyList``).
    Remedy: ``aws iam add-user-to-group``, then detach the policy from the user.
    """
    names = [policy["PolicyName"] for policy in user["AttachedManagedPolicies"]]
    names += [policy["PolicyName"] for policy in _embedded(user)]
    if names:
        return fail(f"the user holds {len(names)} policies directly ({_named(names)}), limit 0")
    return ok(f"the user holds no policy directly, and is in {len(user['GroupList'])} groups")


@check(
    "aws.iam.few-administrators",
    title="Administrators are few",
    severity="high",
    over=("aws.iam.users", "aws.iam.groups", "aws.iam.roles", "aws.iam.policies"),
)
def few_administrators(
    users: Iterator[Record],
    groups: Iterator[Record],
    roles: Iterator[Record],
    policies: Iterator[Record],
    *,
    max_administrators: int = 5,
) -> Verdict:
    """At most ``max_administrators`` users and roles hold a policy that allows every action on every resource.

    Counted: AdministratorAccess of AWS, policies of the account and inline policies, held directly or through a group.
    Not counted: the root user, service-linked roles, other policies of AWS; permissions boundaries are not considered.
    Source: GetAccountAuthorizationDetails.
    Remedy: take the policy away, or put the persons behind one role that they assume when they need it.
    """
    powerful = {policy["Arn"] for policy in policies if any(map(grants_all, statements(_in_force(policy))))}
    grand = {group["GroupName"] for group in groups if _is_administrator(group, powerful)}
    names = [
        f"user {user['UserName']}"
        for user in users
        if _is_administrator(user, powerful) or grand.intersection(user["GroupList"])
    ]
    names += [
        f"role {role['RoleName']}"
        for role in roles
        if not _is_service_linked(role) and _is_administrator(role, powerful)
    ]
    told = f"{len(names)} administrators ({_named(names) or 'none'}), limit {max_administrators}"
    return ok(told) if len(names) <= max_administrators else fail(told)


# ------------------------------------------------------------------------------------------------------------ roles


@check(
    "aws.iam.role-trust-not-public",
    title="No role can be assumed by everyone",
    severity="critical",
    each="aws.iam.roles",
)
def role_trust_not_public(role: Record) -> Verdict:
    """The trust policy admits neither everyone nor every customer of an identity provider that serves the public.

    Everyone: principal ``*`` or ``NotPrincipal`` without a condition that names accounts, organisations or networks; an
    external id does not make up for it. Of a public identity provider the condition must name whose tokens are meant.
    Source: GetAccountAuthorizationDetails (``AssumeRolePolicyDocument``). Service-linked roles are skipped.
    Remedy: ``aws iam update-assume-role-policy`` with named principals.
    """
    if _is_service_linked(role):
        return skip("the role is service-linked: AWS writes its trust policy")
    trust = statements(role["AssumeRolePolicyDocument"])
    if any(is_public(statement) for statement in trust):
        return fail("everyone may assume the role: a statement names no principal and no condition narrows it")
    for statement in trust:
        for issuer in _shared_issuers(statement):
            if not _names_holder(statement, issuer):
                return fail(f"every customer of {issuer} may assume the role: no condition names whose tokens count")
    return ok(f"the trust policy names its principals: {_trusted(trust)}")


@check(
    "aws.iam.role-trust-known-accounts",
    title="Roles trust known accounts only",
    severity="high",
    each="aws.iam.roles",
)
def role_trust_known_accounts(role: Record, *, known_accounts: tuple[str, ...] = ()) -> Verdict:
    """Every AWS account the trust policy names is the role's own or one of ``known_accounts``.

    Source: GetAccountAuthorizationDetails (``AssumeRolePolicyDocument``, ``Arn``). Service-linked roles, and roles that
    trust no AWS principal, are skipped; the ids AWS leaves in place of deleted users and roles admit nobody.
    Remedy: take the account out of the trust policy, or declare it in ``known_accounts``.
    """
    if _is_service_linked(role):
        return skip("the role is service-linked: AWS writes its trust policy")
    trusted = _aws_principals(role)
    if not trusted:
        return skip("the role trusts no AWS account")
    if "*" in trusted:
        return fail("the role trusts principals of any account (*), limit known accounts")
    accounts = {account for principal in trusted if (account := account_of(principal))}
    strangers = sorted(accounts - {account_of(role["Arn"]), *map(str, known_accounts)})
    if strangers:
        return fail(f"the role trusts {len(strangers)} unknown accounts ({_named(strangers)}), limit 0")
    return ok(f"the role trusts {len(accounts)} accounts, all known")


@check(
    "aws.iam.role-trust-external-id",
    title="Roles of other organisations ask for an external id",
    severity="medium",
    each="aws.iam.roles",
)
def role_trust_external_id(role: Record, *, own_accounts: tuple[str, ...] = ()) -> Verdict:
    """A statement that trusts an account other than the role's own and ``own_accounts`` asks for a fixed external id.

    Source: GetAccountAuthorizationDetails (``AssumeRolePolicyDocument``, ``Arn``). Other roles are skipped.
    Remedy: agree on an id with the other organisation and put it in a ``StringEquals`` on ``sts:ExternalId``.
    """
    if _is_service_linked(role):
        return skip("the role is service-linked: AWS writes its trust policy")
    ours = {account_of(role["Arn"]), *map(str, own_accounts)}
    foreign = [
        statement
        for statement in statements(role["AssumeRolePolicyDocument"])
        if allows(statement, "sts:AssumeRole")
        and any(_is_foreign(who, statement, ours) for who in principals(statement).get("AWS", ()))
    ]
    if not foreign:
        return skip("the role trusts no other organisation")
    without = sum(not _asks_external_id(statement) for statement in foreign)
    told = f"{without} of {len(foreign)} statements that trust another organisation ask for no external id, limit 0"
    return fail(told) if without else ok(told)


@check(
    "aws.iam.role-in-use",
    title="Roles are in use",
    severity="low",
    each="aws.iam.roles",
)
def role_in_use(role: Record, *, as_of: datetime, max_unused_days: int = 90) -> Verdict:
    """A role was used, or if no use is known was made, in the last ``max_unused_days`` days.

    AWS remembers uses for 400 days. Source: GetAccountAuthorizationDetails (``RoleLastUsed``, ``CreateDate``).
    Service-linked roles are skipped. Remedy: find out who owns the role; delete it.
    """
    if _is_service_linked(role):
        return skip("the role is service-linked: AWS uses it")
    used = role["RoleLastUsed"].get("LastUsedDate")  # left out where no use is known
    days = days_between(instant(used or role["CreateDate"]), as_of)
    told = f"was last used {days} days ago" if used else f"was made {days} days ago and no use is known"
    told = f"the role {told}, limit {max_unused_days} days"
    return ok(told) if days <= max_unused_days else fail(told)


# ---------------------------------------------------------------------------------------------------------- helpers


def _in_force(policy: Record) -> Any:
    """Document of the version that applies."""
    (version,) = (version for version in policy["PolicyVersionList"] if version["IsDefaultVersion"])
    return version["Document"]


def _embedded(identity: Record) -> list[Any]:
    """Inline policies of a user, a group or a role; AWS leaves the list out where there are none."""
    return [policy for kind in ("User", "Group", "Role") for policy in identity.get(f"{kind}PolicyList", ())]


def _inline(
    users: Iterable[Record], groups: Iterable[Record], roles: Iterable[Record]
) -> Iterator[tuple[str, list[Statement]]]:
    """Name and statements of every inline policy; those of service-linked roles are AWS's own."""
    for kind, identities in (("User", users), ("Group", groups), ("Role", roles)):
        for identity in identities:
            if kind == "Role" and _is_service_linked(identity):
                continue
            for policy in _embedded(identity):
                name = f"{policy['PolicyName']} of {kind.lower()} {identity[f'{kind}Name']}"
                yield name, statements(policy["PolicyDocument"])


def _none_of(what: str, found: Sequence[tuple[str, bool]]) -> Verdict:
    if not found:
        return skip("the account has no inline policies")
    bad = [name for name, hit in found if hit]
    if bad:
        return fail(f"{len(bad)} of {len(found)} inline policies allow {what} ({_named(bad)}), limit 0")
    return ok(f"none of {len(found)} inline policies allows {what}")


def _is_service_linked(role: Record) -> bool:
    return bool(role["Path"].startswith("/aws-service-role/"))


def _is_administrator(identity: Record, powerful: set[str]) -> bool:
    attached = [policy["PolicyArn"] for policy in identity["AttachedManagedPolicies"]]
    if any(arn in powerful or ADMINISTRATOR.fullmatch(arn) for arn in attached):
        return True
    return any(any(map(grants_all, statements(policy["PolicyDocument"]))) for policy in _embedded(identity))


def _escalations(document: Sequence[Statement]) -> list[str]:
    """The known paths that the document allows as a whole."""
    return [
        " + ".join(path)
        for path in ESCALATIONS
        if any(map(_has_free_choice, _allowing(document, path[0])))
        and all(_allowing(document, action) for action in path[1:])
    ]


def _allowing(document: Sequence[Statement], action: str) -> list[Statement]:
    """Statements that allow ``action``; none where another denies it outright."""
    for statement in document:
        outright = statement["Effect"] == "Deny" and "Condition" not in statement and on_everything(statement)
        if outright and covers(statement, action):
            return []
    return [statement for statement in document if allows(statement, action)]


def _has_free_choice(statement: Statement) -> bool:
    """True when a statement speaks of everything, or of all identities or functions of an account."""
    return on_everything(statement) or any(map(ANY_OF_A_KIND.fullmatch, listed(statement["Resource"])))


def _aws_principals(role: Record) -> list[str]:
    """AWS principals that the trust policy admits; ``*`` also for all but some."""
    found: list[str] = []
    for statement in statements(role["AssumeRolePolicyDocument"]):
        if statement["Effect"] == "Allow":
            found += ["*"] if "NotPrincipal" in statement else principals(statement).get("AWS", [])
    return found


def _is_foreign(who: str, statement: Statement, ours: set[str]) -> bool:
    """True for a principal outside ``ours``: another account, or everyone unless a condition names accounts."""
    if who == "*":
        return not is_narrowed(statement)
    return account_of(who) not in {"", *ours}


def _asks_external_id(statement: Statement) -> bool:
    """True when the statement holds only for external ids it spells out."""
    return any(
        operator.lower() in ("stringequals", "stringlike") and not any(map(NOT_SPELT_OUT.search, values))
        for operator, values in condition_values(statement, "sts:ExternalId")
    )


def _shared_issuers(statement: Statement) -> list[str]:
    """Public identity providers whose tokens an allowing statement accepts."""
    if statement["Effect"] != "Allow":
        return []
    named = [who.rpartition("oidc-provider/")[2] for who in principals(statement).get("Federated", ())]
    return [issuer for issuer in named if issuer.partition("/")[0] in SHARED_ISSUERS]


def _names_holder(statement: Statement, issuer: str) -> bool:
    """True when a condition on a claim of the token names the holder, or the application it was made for."""
    claims = ("sub", "aud", "app_id") if issuer in CONSUMER_ISSUERS else ("sub",)
    return any(
        operator.lower().removeprefix("foranyvalue:") in ("stringequals", "stringlike")
        and all(_is_somebody(value) for value in values)
        for claim in claims
        for operator, values in condition_values(statement, f"{issuer}:{claim}")
    )


def _is_somebody(value: str) -> bool:
    """True for a claim without wildcards, or with wildcards only after a complete name: ``repo:example-org/*``."""
    return bool(value) and (not re.search(r"[*?]", value) or bool(re.match(r"[a-z_]+:[^*?/:]+[/:]", value)))


def _trusted(trust: Sequence[Statement]) -> str:
    """The principals of a trust policy, in words."""
    admitting = [principals(statement) for statement in trust if statement["Effect"] == "Allow"]
    return _named(sorted({who for kinds in admitting for names in kinds.values() for who in names})) or "none"


def _named(names: Sequence[str], most: int = 10) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
