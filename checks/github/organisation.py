"""GitHub organisations: their settings, what their workflows may do, and which of them are read at all."""

from collections.abc import Iterator

from collector.api import GapKind, Http, Record, Redaction, Row, Unavailable, Verdict, check, fail, ok, skip, source

MOST = 10
"""Names that a reason lists at most."""


@source(
    "github.organisation",
    key="login",
    per="account",
    permissions=("organization_administration:read",),
    redactions=tuple(
        Redaction("github:GET /orgs/{org}", "contact data shows nothing of a setting", json=name)
        for name in ("billing_email", "email", "blog", "location", "twitter_username", "avatar_url")
    ),
)
def organisation(github: Http) -> Iterator[Row]:
    """One record: the organisation and its settings, which GitHub shows to its owners only."""
    yield github.get("/orgs/{org}", org=github.account)


@source(
    "github.actions",
    key="Id",
    per="account",
    permissions=("organization_administration:read",),
)
def actions(github: Http) -> Iterator[Row]:
    """One record: what workflows of the organisation may run and what their tokens may do."""
    yield {
        "Id": github.account,
        "getPermissions": github.attempt("/orgs/{org}/actions/permissions", org=github.account),
        "getDefaultWorkflowPermissions": github.attempt("/orgs/{org}/actions/permissions/workflow", org=github.account),
    }


@source(
    "github.organisations",
    key="login",
    per="connection",
    permissions=("metadata:read",),
    redactions=(Redaction("github:GET /user/orgs", "not needed to tell organisations apart", json="[].avatar_url"),),
)
def organisations(github: Http) -> Iterator[Row]:
    """Every organisation the owner of the token belongs to; GitHub lists none for tokens of another sort."""
    yield from github.pages("/user/orgs", per_page=100)


def _shown(row: Record, name: str) -> object:
    """A setting of the organisation, which GitHub leaves out, or gives as null, for who is no owner."""
    value = row.get(name)
    if value is None:
        raise Unavailable(GapKind.DENIED, f"GitHub does not show {name} to the caller, who is no owner")
    return value


@check(
    "github.organisation.two-factor-required",
    title="The GitHub organisation requires two-factor authentication",
    severity="critical",
    each="github.organisation",
)
def two_factor_required(organisation: Record) -> Verdict:
    """Nobody stays a member without a second factor.

    Source: Get an organization (``two_factor_requirement_enabled``). Sign-in through an identity provider is not seen.
    Remedy: Settings, Authentication security: require two-factor authentication.
    """
    required = _shown(organisation, "two_factor_requirement_enabled")
    return ok("a second factor is required") if required else fail("a second factor is not required")


@check(
    "github.organisation.base-permission-narrow",
    title="Membership alone gives no right to write",
    severity="high",
    each="github.organisation",
)
def base_permission_narrow(organisation: Record, *, allowed: tuple[str, ...] = ("none", "read")) -> Verdict:
    """What every member may do in every repository is one of ``allowed``.

    Source: Get an organization (``default_repository_permission``).
    Remedy: Settings, Member privileges: base permissions; give the right to write through teams.
    """
    told = str(_shown(organisation, "default_repository_permission"))
    reason = f"the base permission is {told}, allowed: {', '.join(allowed)}"
    return ok(reason) if told in allowed else fail(reason)


@check(
    "github.organisation.publishing-restricted",
    title="Members cannot make source code public",
    severity="high",
    each="github.organisation",
)
def publishing_restricted(organisation: Record) -> Verdict:
    """Members who are no owners can neither create public repositories nor change who sees a repository.

    Source: Get an organization (``members_can_create_public_repositories``, ``members_can_change_repo_visibility``,
    which GitHub leaves out where the plan does not have it; it counts as allowed then).
    Remedy: Settings, Member privileges: repository creation and repository visibility change.
    """
    may = []
    if _shown(organisation, "members_can_create_public_repositories"):
        may.append("create public repositories")
    if organisation.get("members_can_change_repo_visibility", True):
        may.append("change who sees a repository")
    return fail(f"members can {' and '.join(may)}") if may else ok("members can make nothing public")


@check(
    "github.organisation.forks-restricted",
    title="Members cannot fork private repositories",
    severity="medium",
    each="github.organisation",
)
def forks_restricted(organisation: Record) -> Verdict:
    """Private code is not copied into other accounts by forking.

    Source: Get an organization (``members_can_fork_private_repositories``).
    Remedy: Settings, Member privileges: repository forking.
    """
    may = _shown(organisation, "members_can_fork_private_repositories")
    return fail("members can fork private repositories") if may else ok("private repositories cannot be forked")


@check(
    "github.organisation.guests-by-owners",
    title="Only owners invite outside collaborators",
    severity="medium",
    each="github.organisation",
)
def guests_by_owners(organisation: Record) -> Verdict:
    """Administrators of a repository cannot let outsiders in by themselves.

    Source: Get an organization (``members_can_invite_outside_collaborators``).
    Remedy: Settings, Member privileges: repository outside collaborators.
    """
    may = _shown(organisation, "members_can_invite_outside_collaborators")
    return fail("members can invite outsiders") if may else ok("only owners can invite outsiders")


@check(
    "github.actions.restricted",
    title="Workflows use named actions only",
    severity="medium",
    each="github.actions",
)
def actions_restricted(actions: Record) -> Verdict:
    """Workflows cannot run actions of anybody in the world.

    Source: Get GitHub Actions permissions for an organization (``enabled_repositories``, ``allowed_actions``).
    Remedy: Settings, Actions, General: allow actions of the organisation, and name the others.
    """
    reply = actions["getPermissions"]
    if reply["enabled_repositories"] == "none":
        return skip("no repository may run workflows")
    allowed = reply["allowed_actions"]
    return fail("actions of anybody may be run") if allowed == "all" else ok(f"allowed actions: {allowed}")


@check(
    "github.actions.token-read-only",
    title="The token of a workflow can read only, unless the workflow asks for more",
    severity="medium",
    each="github.actions",
)
def token_read_only(actions: Record) -> Verdict:
    """The default permission of the workflow token is to read.

    Source: Get default workflow permissions for an organization (``default_workflow_permissions``).
    Remedy: Settings, Actions, General: workflow permissions.
    """
    told = actions["getDefaultWorkflowPermissions"]["default_workflow_permissions"]
    return ok("the default is read") if told == "read" else fail(f"the default is {told}")


@check(
    "github.actions.no-self-approval",
    title="A workflow cannot approve a change",
    severity="high",
    each="github.actions",
)
def no_self_approval(actions: Record) -> Verdict:
    """Workflows can neither create nor approve pull requests, so that no approval comes from a machine.

    Source: Get default workflow permissions for an organization (``can_approve_pull_request_reviews``).
    Remedy: Settings, Actions, General: workflow permissions.
    """
    may = actions["getDefaultWorkflowPermissions"]["can_approve_pull_request_reviews"]
    return fail("workflows can approve pull requests") if may else ok("workflows cannot approve pull requests")


@check(
    "github.organisations.collected",
    title="Every GitHub organisation the credential sees is collected",
    severity="medium",
    over=("github.organisations",),
)
def collected(organisations: Iterator[Record], *, collected_organisations: tuple[str, ...] = ()) -> Verdict:
    """Every organisation the owner of the token belongs to is one of ``collected_organisations``.

    Unless it is set, that is what the configuration names. A list without any of those named is not a list of what the
    token sees, and proves nothing. Source: List organizations for the authenticated user (``login``).
    Remedy: name the organisation under ``accounts``, or set the parameter and say why it stays out.
    """
    seen = {organisation["login"] for organisation in organisations}
    known = {name.casefold() for name in collected_organisations}
    if not any(name.casefold() in known for name in seen):
        raise Unavailable(GapKind.UNPROVEN, "GitHub lists none of the organisations that are read for this token")
    if left := sorted(name for name in seen if name.casefold() not in known):
        return fail(f"{len(left)} of {len(seen)} organisations are not collected: {', '.join(left[:MOST])}")
    return ok(f"all {len(seen)} organisations are collected")
