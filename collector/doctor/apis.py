"""What a REST API, or the token itself, says of the rights of whoever asks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from collector.config import HttpConnection
from collector.connect.google import SCOPES
from collector.connect.http import Http
from collector.doctor.rights import Look, Rights, named
from collector.model import GapKind, Unavailable

CHANGES = re.compile(
    r"write|manage(?!ment)|create|delete|update|impersonat|full_control|realm-admin|\.user\.security$", re.IGNORECASE
)
"""Words in a scope or role of an API that allow a change."""

GITHUB_READS = frozenset(
    {"read:audit_log", "read:discussion", "read:enterprise", "read:gpg_key", "read:org", "read:packages",
     "read:project", "read:public_key", "read:repo_hook", "read:user", "user:email"}
)  # fmt: skip
"""Scopes of a classic token that change nothing."""
GITLAB_READS = frozenset(
    {"email", "openid", "profile", "read_api", "read_observability", "read_package_registry", "read_registry",
     "read_repository", "read_service_ping", "read_user", "read_virtual_registry"}
)  # fmt: skip
OKTA_READS = frozenset({"READ_ONLY_ADMIN", "REPORT_ADMIN"})
"""Standard roles of administrators that change nothing."""
OKTA_MOST = 20
"""Roles of one's own making that are looked into."""
JIRA_NEEDS = {"read:jira-work": "BROWSE_PROJECTS", "read:jira-user": "USER_PICKER"}
"""What an account needs for what a source declares as the scope of an app."""
JIRA_WRITES = (
    "ADMINISTER", "SYSTEM_ADMIN", "ADMINISTER_PROJECTS", "CREATE_ISSUES", "EDIT_ISSUES", "DELETE_ISSUES",
    "TRANSITION_ISSUES", "RESOLVE_ISSUES", "CLOSE_ISSUES", "ASSIGN_ISSUES", "MOVE_ISSUES", "LINK_ISSUES",
    "SCHEDULE_ISSUES", "SET_ISSUE_SECURITY", "MODIFY_REPORTER", "ADD_COMMENTS", "EDIT_ALL_COMMENTS",
    "EDIT_OWN_COMMENTS", "DELETE_ALL_COMMENTS", "DELETE_OWN_COMMENTS", "CREATE_ATTACHMENTS", "DELETE_ALL_ATTACHMENTS",
    "DELETE_OWN_ATTACHMENTS", "WORK_ON_ISSUES", "EDIT_ALL_WORKLOGS", "DELETE_ALL_WORKLOGS", "MANAGE_WATCHERS",
    "MANAGE_GROUP_FILTER_SUBSCRIPTIONS", "BULK_CHANGE",
)  # fmt: skip
GOOGLE_KEY = (
    "google-workspace does not tell which further scopes the key may ask for; its Admin console does, under "
    "domain-wide delegation"
)
LISTS = {"entra": "/v1.0/organization", "keycloak": "/admin/realms"}
"""What shows whether a token was given at all, where it does not name its rights itself."""


def rights(config: HttpConnection, http: Http, look: Look, needed: Sequence[str]) -> Rights:
    """What the token allows, by its own words where it has any, else by those of the API."""
    if granted := http.granted():
        return _by_token(granted, needed)
    match config.kind:
        case "github":
            return _github(http, look, config.accounts)
        case "gitlab":
            return _gitlab(http, needed)
        case "google-workspace":
            return _google(config, http, needed)
        case "jira":
            return _jira(http, needed)
        case "okta":
            return _okta(http)
    if config.kind in LISTS:
        _signed_in(http, LISTS[config.kind])
    return Rights(untold=(f"{config.kind} does not tell which rights its token has, and the token names none",))


def _by_token(granted: frozenset[str], needed: Sequence[str]) -> Rights:
    return Rights(
        missing=tuple(sorted(set(needed) - granted)),
        changes=tuple(sorted(right for right in granted if CHANGES.search(right))),
        fine=f"its token names all {len(needed)} rights it needs, and none that changes things",
        named_by="its token",
    )


def _github(github: Http, look: Look, accounts: Sequence[str]) -> Rights:
    """A classic token has scopes, which come with each reply. Other tokens are a secret between GitHub and its owner.

    What the account may do in a repository is told with it, whatever the token permits of that.
    """
    repositories: list[Any] = []
    for account in accounts:
        repositories += github.get("/orgs/{org}/repos", part=True, org=account, type="all", per_page=100)
    if (told := look.headers.get("x-oauth-scopes")) is not None:
        scopes = [scope for item in told.split(",") if (scope := item.strip())]
        return Rights(
            changes=tuple(f"scope {scope}" for scope in scopes if scope not in GITHUB_READS),
            untold=("github does not tell whether the scopes of a classic token cover the permissions it needs",),
            fine="its token has no scope that changes things",
        )
    open_ = [
        str(repository["full_name"])
        for repository in repositories
        if any((repository.get("permissions") or {}).get(right) for right in ("admin", "maintain", "push", "triage"))
    ]
    may = f"may write to {named(open_)}, perhaps by other tokens only" if open_ else "may write to none"
    listed = f"; its account {may}, of {len(repositories)} repositories listed first" if repositories else ""
    return Rights(untold=(f"github does not tell the permissions of a token that is not a classic one{listed}",))


def _gitlab(gitlab: Http, needed: Sequence[str]) -> Rights:
    scopes = list(gitlab.get("/api/v4/personal_access_tokens/self")["scopes"])
    missing = [need for need in needed if need not in scopes and not ("api" in scopes and need.startswith("read_"))]
    return Rights(
        missing=tuple(missing),
        changes=tuple(f"scope {scope}" for scope in scopes if scope not in GITLAB_READS),
        fine=f"its token has all {len(needed)} scopes it needs, and none that changes things",
    )


def _google(config: HttpConnection, google: Http, needed: Sequence[str]) -> Rights:
    """A token is made with the scopes that are asked for, or not at all."""
    account = config.service_account
    if account is None:
        raise AssertionError("the configuration was checked")
    scopes = account.scopes or SCOPES
    _signed_in(google, "/admin/directory/v1/users/{userKey}", userKey=account.subject)
    missing = [need for need in needed if not {need, need.removesuffix(".readonly")} & {*scopes}]
    return Rights(
        missing=tuple(missing),
        changes=tuple(f"scope {scope}" for scope in scopes if not scope.endswith(".readonly")),
        untold=(GOOGLE_KEY,),
        fine=f"its tokens are made with {len(scopes)} scopes, all that it needs and none that changes things",
        named_by="its configuration",
    )


def _jira(jira: Http, needed: Sequence[str]) -> Rights:
    """A right in a project is told as held where it is held in any project."""
    wanted = {need: JIRA_NEEDS[need] for need in needed if need in JIRA_NEEDS}
    keys = ",".join((*wanted.values(), *JIRA_WRITES))
    told = jira.get("/rest/api/3/mypermissions", permissions=keys)["permissions"]
    held = {name for name, about in told.items() if about["havePermission"] is True}
    return Rights(
        missing=tuple(f"{name} (for {need})" for need, name in wanted.items() if name not in held),
        changes=tuple(name for name in JIRA_WRITES if name in held),
        fine=f"may browse projects, and has none of {len(JIRA_WRITES)} permissions that change things",
    )


def _okta(okta: Http) -> Rights:
    """A token that is no JSON Web Token has the roles of the user who made it."""
    me = okta.get("/api/v1/users/{id}", id="me")
    changes: list[str] = []
    untold: list[str] = []
    roles = okta.get("/api/v1/users/{userId}/roles", userId=me["id"])
    for number, role in enumerate(roles):
        if role["type"] != "CUSTOM":
            changes += [str(role["type"])] if role["type"] not in OKTA_READS else []
            continue
        try:
            if number >= OKTA_MOST:
                raise Unavailable(GapKind.PAGE_CAP, f"there are {len(roles)} roles")
            path = "/api/v1/iam/roles/{roleIdOrLabel}/permissions"
            allowed = [item["label"] for item in okta.get(path, roleIdOrLabel=role["role"])["permissions"]]
            changes += [f"{label} ({role['label']})" for label in allowed if not label.endswith(".read")]
        except Unavailable as error:
            untold.append(f"okta does not tell the permissions of the role {role['label']} ({error.reason})")
    fine = f"its token is of a user with {len(roles)} administrator's roles, none of which changes things"
    return Rights(
        changes=tuple(changes),
        untold=(*untold, "okta does not tell whether the roles of its token's user cover the scopes it needs"),
        fine="" if untold else fine,
    )


def _signed_in(http: Http, path: str, **params: Any) -> None:
    """Return when the credential is taken, whatever the answer is.

    Raises:
        Unavailable: there is no token, or nobody answers.
    """
    try:
        http.get(path, part=True, **params)
    except Unavailable as error:
        if error.kind not in (GapKind.DENIED, GapKind.REJECTED, GapKind.UNSUPPORTED):
            raise
