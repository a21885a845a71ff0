"""What GitHub's scanners found: vulnerable dependencies, weaknesses in code, secrets in code."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

from collector.api import Http, Record, Redaction, Row, Verdict, check, days_between, fail, instant, ok, skip, source

MOST = 10
"""Names that a reason lists at most."""

REDACTED = (
    Redaction(
        "github:GET *",
        "credentials, and people beyond id and login",
        regex=r'"(?:avatar_url|gravatar_id|email|temp_clone_token|secret|dismissed_comment|resolution_comment)"'
        r'\s*:\s*"(?P<secret>(?:[^"\\]|\\.)*)"',
    ),
    Redaction(
        "github:GET /repos/{owner}/{repo}/secret-scanning/alerts",
        "may quote the secret",
        json="[].first_location_detected.*",
    ),
)
DEPENDABOT_OFF = ("Dependabot alerts are disabled for this repository*",)
CODE_OFF = (
    "*must be enabled for this repository to use code scanning*",
    "Code scanning is not enabled for this repository*",
    "no analysis found*",
)
SECRET_OFF = ("Secret scanning is disabled on this repository*",)
"""GitHub's sentences for "not set up"; a refusal has others."""


def _scanned(github: Http, path: str, off: tuple[str, ...], **query: object) -> Iterator[Row]:
    for repo in github.pages("/orgs/{org}/repos", org=github.account, type="all", per_page=100):
        if repo["archived"]:
            github.leave_out("archived repositories")
            continue
        where = {"owner": repo["owner"]["login"], "repo": repo["name"], "per_page": 100, **query}
        yield {**repo, "listAlertsForRepo": github.attempt_all(path, absent=off, **where)}


@source(
    "github.dependabot-alerts",
    key="full_name",
    per="account",
    permissions=("metadata:read", "vulnerability_alerts:read"),
    kind="period",
    redactions=REDACTED,
)
def dependabot_alerts(github: Http) -> Iterator[Row]:
    """Every repository that is not archived, with every alert about a dependency ever raised there, open or closed.

    Null where alerts are switched off.
    """
    yield from _scanned(github, "/repos/{owner}/{repo}/dependabot/alerts", DEPENDABOT_OFF)


@source(
    "github.code-scanning-alerts",
    key="full_name",
    per="account",
    permissions=("metadata:read", "security_events:read"),
    kind="period",
    redactions=REDACTED,
)
def code_scanning_alerts(github: Http) -> Iterator[Row]:
    """Every repository that is not archived, with every weakness ever found in its code, open or closed.

    Null where nothing scans the code.
    """
    yield from _scanned(github, "/repos/{owner}/{repo}/code-scanning/alerts", CODE_OFF)


@source(
    "github.secret-scanning-alerts",
    key="full_name",
    per="account",
    permissions=("metadata:read", "secret_scanning_alerts:read"),
    kind="period",
    redactions=REDACTED,
)
def secret_scanning_alerts(github: Http) -> Iterator[Row]:
    """Every repository that is not archived, with every secret ever found in it, open or closed, without its value.

    Null where nothing looks for secrets.
    """
    yield from _scanned(github, "/repos/{owner}/{repo}/secret-scanning/alerts", SECRET_OFF, hide_secret=True)


def _in_time(
    alerts: Iterable[Record],
    limit: Callable[[Record], int | None],
    closed: Callable[[Record], str | None],
    as_of: datetime,
    period_days: int,
) -> Verdict:
    """Whether every alert that was open in the period was closed within its limit, or is younger than that."""
    late, counted = [], 0
    for alert in alerts:
        days = limit(alert)
        end = closed(alert)
        if days is None or (end and days_between(instant(end), as_of) > period_days):
            continue
        counted += 1
        took = days_between(instant(alert["created_at"]), instant(end) if end else as_of)
        if took > days:
            late.append(f"#{alert['number']} {'closed after' if end else 'open for'} {took} days, limit {days}")
    if late:
        return fail(f"{len(late)} of {counted} alerts of the period were late: {'; '.join(late[:MOST])}")
    return ok(f"none of {counted} alerts of the period was late") if counted else skip("no alert in the period")


OFF = "{} is not in use"


@check(
    "github.dependabot-alerts.enabled",
    title="GitHub looks for known vulnerabilities in dependencies",
    severity="medium",
    each="github.dependabot-alerts",
)
def dependabot_enabled(repo: Record) -> Verdict:
    """Dependabot alerts are on.

    Source: List Dependabot alerts for a repository, which says so where they are off.
    Remedy: Settings, Code security: Dependabot alerts.
    """
    alerts = repo["listAlertsForRepo"]
    return fail("Dependabot alerts are off") if alerts is None else ok(f"on, with {len(alerts)} alerts so far")


@check(
    "github.dependabot-alerts.fixed-in-time",
    title="Vulnerable dependencies are replaced in time",
    severity="high",
    each="github.dependabot-alerts",
)
def dependencies_fixed(
    repo: Record,
    *,
    as_of: datetime,
    critical_days: int = 7,
    high_days: int = 30,
    medium_days: int = 90,
    period_days: int = 90,
) -> Verdict:
    """No alert was open longer than the days for its severity, among those open in the last ``period_days``.

    A dismissal closes an alert too: whether its reason holds is for a person. Source: List Dependabot alerts
    (``created_at``, ``fixed_at``, ``dismissed_at``, ``security_vulnerability.severity``).
    Remedy: update the dependency, or dismiss the alert with a reason.
    """
    alerts = repo["listAlertsForRepo"]
    if alerts is None:
        return skip(OFF.format("Dependabot"))
    days = {"critical": critical_days, "high": high_days, "medium": medium_days, "low": None}
    return _in_time(
        (alert for alert in alerts if alert["state"] != "auto_dismissed"),
        lambda alert: days[alert["security_vulnerability"]["severity"]],
        lambda alert: alert["fixed_at"] or alert["dismissed_at"],
        as_of,
        period_days,
    )


@check(
    "github.dependabot-alerts.dismissed-few",
    title="Few alerts about dependencies are waved away",
    severity="medium",
    each="github.dependabot-alerts",
)
def dependencies_dismissed(repo: Record, *, max_dismissed_pct: int = 20) -> Verdict:
    """At most ``max_dismissed_pct`` per cent of the closed alerts were dismissed for want of time or as tolerable.

    Source: List Dependabot alerts (``state``, ``dismissed_reason``: no_bandwidth, tolerable_risk).
    Remedy: see whether the risk was accepted by whoever may accept it.
    """
    alerts = repo["listAlertsForRepo"]
    if alerts is None:
        return skip(OFF.format("Dependabot"))
    closed = [alert for alert in alerts if alert["state"] in ("dismissed", "fixed")]
    if not closed:
        return skip("no alert was closed")
    away = sum(alert["dismissed_reason"] in ("no_bandwidth", "tolerable_risk") for alert in closed)
    told = f"{away} of {len(closed)} closed alerts were dismissed without a fix, limit {max_dismissed_pct} per cent"
    return ok(told) if away * 100 <= max_dismissed_pct * len(closed) else fail(told)


@check(
    "github.code-scanning-alerts.enabled",
    title="GitHub repositories are scanned for weaknesses in code",
    severity="medium",
    each="github.code-scanning-alerts",
)
def code_scanning_enabled(repo: Record) -> Verdict:
    """Code scanning is on and has analysed the code.

    Source: List code scanning alerts for a repository, which says so where there was no analysis.
    Remedy: Settings, Code security: code scanning.
    """
    alerts = repo["listAlertsForRepo"]
    return fail("nothing scans the code") if alerts is None else ok(f"scanned, with {len(alerts)} alerts so far")


@check(
    "github.code-scanning-alerts.fixed-in-time",
    title="Weaknesses found in code are fixed in time",
    severity="high",
    each="github.code-scanning-alerts",
)
def weaknesses_fixed(
    repo: Record,
    *,
    as_of: datetime,
    critical_days: int = 7,
    high_days: int = 30,
    medium_days: int = 90,
    period_days: int = 90,
) -> Verdict:
    """No weakness was open longer than the days for its severity, among those open in the last ``period_days``.

    Rules without a security severity are about quality and do not count. Source: List code scanning alerts
    (``created_at``, ``fixed_at``, ``dismissed_at``, ``rule.security_severity_level``).
    Remedy: fix the code, or dismiss the alert with a reason.
    """
    alerts = repo["listAlertsForRepo"]
    if alerts is None:
        return skip(OFF.format("code scanning"))
    days = {"critical": critical_days, "high": high_days, "medium": medium_days, "low": None, None: None}
    return _in_time(
        alerts,
        lambda alert: days[alert["rule"].get("security_severity_level")],  # left out where it is not about security
        lambda alert: alert.get("fixed_at") or alert["dismissed_at"],  # left out while it is not fixed
        as_of,
        period_days,
    )


@check(
    "github.secret-scanning-alerts.enabled",
    title="GitHub repositories are searched for secrets",
    severity="medium",
    each="github.secret-scanning-alerts",
)
def secret_scanning_enabled(repo: Record) -> Verdict:
    """Secret scanning is on.

    Source: List secret scanning alerts for a repository, which says so where it is off.
    Remedy: Settings, Code security: secret protection.
    """
    alerts = repo["listAlertsForRepo"]
    return fail("nothing looks for secrets") if alerts is None else ok(f"searched, with {len(alerts)} alerts so far")


@check(
    "github.secret-scanning-alerts.resolved-in-time",
    title="Secrets found in code are dealt with in time",
    severity="critical",
    each="github.secret-scanning-alerts",
)
def secrets_resolved(repo: Record, *, as_of: datetime, max_days: int = 3, period_days: int = 90) -> Verdict:
    """No alert about a secret was open longer than ``max_days``, among those open in the last ``period_days``.

    Source: List secret scanning alerts (``created_at``, ``resolved_at``).
    Remedy: revoke the secret where it is valid, then close the alert.
    """
    alerts = repo["listAlertsForRepo"]
    if alerts is None:
        return skip(OFF.format("secret scanning"))
    return _in_time(alerts, lambda _: max_days, lambda alert: alert["resolved_at"], as_of, period_days)


@check(
    "github.secret-scanning-alerts.not-forced-in",
    title="Nobody pushed a secret against the warning",
    severity="high",
    each="github.secret-scanning-alerts",
)
def not_forced_in(repo: Record, *, as_of: datetime, max_bypasses: int = 0, period_days: int = 90) -> Verdict:
    """In the last ``period_days`` push protection was overridden at most ``max_bypasses`` times.

    Source: List secret scanning alerts (``push_protection_bypassed``, ``created_at``).
    Remedy: hold each against its reason; revoke the secret where it is real.
    """
    alerts = repo["listAlertsForRepo"]
    if alerts is None:
        return skip(OFF.format("secret scanning"))
    forced = [
        f"#{alert['number']}"
        for alert in alerts
        if alert["push_protection_bypassed"] and days_between(instant(alert["created_at"]), as_of) <= period_days
    ]
    told = f"{len(forced)} secrets were pushed against the warning, limit {max_bypasses}"
    return ok(told) if len(forced) <= max_bypasses else fail(f"{told}: {', '.join(forced[:MOST])}")
