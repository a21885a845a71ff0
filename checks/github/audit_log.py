"""The GitHub audit log: what was changed in an organisation over a period; GitHub Enterprise Cloud only."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from collector.api import Http, Record, Redaction, Row, Verdict, check, fail, ok, source

MOST = 10
"""Names that a reason lists at most."""

DAYS = 90
"""Of the 180 days that GitHub keeps."""

PROTECTION = (
    "protected_branch.branch_allowances",
    "protected_branch.destroy",
    "protected_branch.dismiss_stale_reviews",
    "protected_branch.policy_override",
    "protected_branch.update_admin_enforced",
    "protected_branch.update_allow_deletions_enforcement_level",
    "protected_branch.update_allow_force_pushes_enforcement_level",
    "protected_branch.update_pull_request_reviews_enforcement_level",
    "protected_branch.update_require_code_owner_review",
    "protected_branch.update_required_approving_review_count",
    "protected_branch.update_required_status_checks_enforcement_level",
    "repository_ruleset.destroy",
    "repository_ruleset.update",
)
SETTINGS = (
    "org.disable_two_factor_requirement",
    "org.disable_saml",
    "org.update_default_repository_permission",
    "repo.access",
    "repository_secret_scanning_push_protection.disable",
    "repository_secret_scanning.disable",
    "repository_vulnerability_alerts.disable",
)
OWNERS = ("org.add_member", "org.update_member", "org.remove_member")


@source(
    "github.audit-log",
    key="_document_id",
    per="account",
    permissions=("organization_administration:read",),
    kind="period",
    window_days=DAYS,
    redactions=tuple(
        Redaction("github:GET /orgs/{org}/audit-log", "who acted is told by login, when by the time", json=f"[].{path}")
        for path in ("actor_ip", "actor_location.country_code", "actor_location.country_name", "user_agent", "name")
    ),
    filters="the period, and the actions that a check reads",
)
def audit_log(github: Http) -> Iterator[Row]:
    """Events of the 90 days before the collection about branch protection, security settings and membership.

    The kinds of event are part of the request: each is asked for by its name.
    """
    since = (github.now() - timedelta(days=DAYS)).date().isoformat()
    for action in (*PROTECTION, *SETTINGS, *OWNERS):
        phrase = f"action:{action} created:>={since}"
        yield from github.pages("/orgs/{org}/audit-log", org=github.account, phrase=phrase, include="all", per_page=100)


def _few(events: Iterator[Record], actions: tuple[str, ...], limit: int, what: str) -> Verdict:
    found = sorted(
        f"{_time(event)} {event['action']} by {event.get('actor', 'nobody')}"  # left out where GitHub itself acted
        for event in events
        if event["action"] in actions
    )
    told = f"{len(found)} {what} in the period, limit {limit}"
    return ok(told) if len(found) <= limit else fail(f"{told}: {'; '.join(found[:MOST])}")


def _time(event: Record) -> str:
    """Day and minute of an event, which GitHub counts in milliseconds."""
    return datetime.fromtimestamp(event["@timestamp"] / 1000, UTC).strftime("%Y-%m-%dT%H:%MZ")


@check(
    "github.audit-log.protection-kept",
    title="Protection of branches on GitHub was not removed or overridden",
    severity="high",
    over=("github.audit-log",),
)
def protection_kept(events: Iterator[Record], *, max_events: int = 0) -> Verdict:
    """In the period at most ``max_events`` protections were deleted, changed or overridden.

    Source: Get the audit log (``action`` protected_branch.destroy, policy_override and the updates of reviews, checks,
    force pushes and who is held to them; repository_ruleset.destroy, update). A change in either direction counts. An
    event is an exception until it is held against an approved change.
    Remedy: show the approved change for each event.
    """
    return _few(events, PROTECTION, max_events, "protections removed, changed or overridden")


@check(
    "github.audit-log.settings-kept",
    title="Security settings of the GitHub organisation were not loosened",
    severity="high",
    over=("github.audit-log",),
)
def settings_kept(events: Iterator[Record], *, max_events: int = 0) -> Verdict:
    """In the period at most ``max_events`` settings about sign-in, visibility and scanning were changed.

    Source: Get the audit log (``action`` org.disable_two_factor_requirement, org.disable_saml,
    org.update_default_repository_permission, repo.access, and scanners switched off). A change of who sees a
    repository counts in either direction.
    Remedy: show the approved change for each event.
    """
    return _few(events, SETTINGS, max_events, "security settings changed")
