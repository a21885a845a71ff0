"""What was deployed to production held against the changes the organisation approved."""

import re
from collections.abc import Iterable
from datetime import datetime

from collector.api import GapKind, Record, Table, Unavailable, Verdict, check, fail, instant, ok, skip
from collector.registers.facts import meant, moment, same_person, shared
from collector.registers.matching import PEOPLE, RULES, Owner, owner

TICKET = re.compile(r"(?<![A-Za-z0-9])[A-Za-z][A-Za-z0-9_]+-[0-9]+(?![A-Za-z0-9])")
"""The key of a ticket in a text."""
APPROVED = ("Approved",)
NO_CHANGE = "names no change of the register"
NO_TICKET = "names no ticket of the filter"


def _github(deployment: Record) -> tuple[str, list[str]]:
    """Why a deployment changed nothing in production, and the texts in which it may name its change."""
    if not deployment["Production"]:
        return f"{deployment['environment']} is not a production environment", []
    if "success" not in {status["state"] for status in deployment["listDeploymentStatuses"]}:
        return "the deployment did not succeed", []
    texts = [deployment["ref"], deployment["description"] or ""]
    for change in deployment["Changes"] or ():
        texts += [change["title"], change["head"]["ref"]]
    return "", texts


def _gitlab(deployment: Record) -> tuple[str, list[str]]:
    """Why a deployment changed nothing in production, and the texts in which it may name its change."""
    if not deployment["Production"]:
        return f"{deployment['environment']['name']} is not a production environment", []
    return "", [deployment["ref"], *(change["title"] for change in deployment["Changes"])]


def _named(changes: Table, texts: Iterable[str]) -> list[Record]:
    """The changes whose id stands in the texts as a word of its own; an id of digits alone is not looked for."""
    text = "\n".join(texts).casefold()
    return [
        change
        for change in changes
        if (name := change["id"].casefold()) in text
        and not name.isdigit()
        and re.search(rf"(?<![a-z0-9]){re.escape(name)}(?![a-z0-9])", text)
    ]


def _lacking(change: Record, deployed: str, standard: tuple[str, ...]) -> str:
    """What a change lacks at the time of the deployment; empty where it was approved by somebody else before."""
    approver = change["approver"]
    if change["kind"] in standard:
        return ""
    if not change["approved"] or not approver:
        return f"{change['id']} was not approved"
    if moment(change["approved"]) > instant(deployed):
        return f"{change['id']} was approved at {change['approved']}, after the deployment"
    if same_person(approver, change["implementer"]) or same_person(approver, change["requester"]):
        return f"{change['id']} was approved by {approver}, who asked for it or carried it out"
    return ""


def _approved(changes: Table, deployed: str, texts: list[str], standard: tuple[str, ...]) -> Verdict:
    """Whether every change that is named was approved before."""
    named = _named(changes, texts)
    if not named:
        return fail(f"deployed at {deployed}: {NO_CHANGE}")
    if lacking := [why for change in named if (why := _lacking(change, deployed, standard))]:
        return fail(f"deployed at {deployed}: {'; '.join(lacking)}")
    told = (f"{one['id']} ({'standard' if one['kind'] in standard else 'by ' + one['approver']})" for one in named)
    return ok(f"deployed at {deployed}, approved before: {', '.join(told)}")


def _approvals(ticket: Record, statuses: tuple[str, ...], deployed: str) -> list[str]:
    """Who brought a ticket into one of these statuses before the deployment, other than its reporter and assignee."""
    found = []
    fields = ticket["fields"]
    own = {one["accountId"] for one in (fields["reporter"], fields["assignee"]) if one}
    for entry in ticket["getChangeLogs"]:
        at = instant(re.sub(r"([+-]\d\d)(\d\d)$", r"\1:\2", entry["created"]))  # 2026-03-01T09:00:00.000+0000
        who = (entry.get("author") or {}).get("accountId", "")  # absent where an automation of Jira did it
        came = any(item["field"] == "status" and item["toString"] in statuses for item in entry["items"])
        if came and who and who not in own and at <= instant(deployed):
            found.append(who)
    return found


def _ticketed(tickets: Table, deployed: str, texts: list[str], statuses: tuple[str, ...]) -> Verdict:
    """Whether every ticket that is named came to approval before."""
    keys = sorted({key.upper() for text in texts for key in TICKET.findall(text)})
    named = [ticket for key in keys for ticket in tickets.where("key", key)]
    if not named:
        return fail(f"deployed at {deployed}: {NO_TICKET}")
    approvals = {ticket["key"]: _approvals(ticket, statuses, deployed) for ticket in named}
    lacking = [key for key, who in approvals.items() if not who]
    if lacking:
        return fail(f"deployed at {deployed}: not approved by somebody else before: {', '.join(lacking)}")
    return ok(f"deployed at {deployed}, approved before: {', '.join(approvals)}")


def _separated(
    changes: Table, texts: list[str], people: Table, deployer: Owner, name: str, as_of: datetime
) -> Verdict:
    """Whether who deployed is not who approved one of the changes that are named."""
    approvers = {change["id"]: change["approver"] for change in _named(changes, texts) if change["approver"]}
    if not approvers:
        return skip("names no change of the register that somebody approved")
    if deployer.person is None:
        raise Unavailable(GapKind.UNPROVEN, f"nobody knows who {name} is: {deployer.how}")
    told = f"{name} ({deployer.person['id']}) deployed"
    found = {change: meant(people, approver, as_of) for change, approver in approvers.items()}
    own = [change for change, who in found.items() if [one["id"] for one in who] == [deployer.person["id"]]]
    if own:
        return fail(f"{told} {', '.join(own)}, and approved it")
    for change, who in found.items():
        if len(who) != 1:
            why = f"{shared(approvers[change], who)}; one approved {change}"
            why = why if who else f"{approvers[change]}, who approved {change}, is not in people.csv"
            raise Unavailable(GapKind.UNPROVEN, why)
    return ok(f"{told}; approved: {', '.join(f'{change} by {who}' for change, who in approvers.items())}")


@check(
    "joins.github.deployed-changes-approved",
    title="What was deployed to production from GitHub was an approved change of the register",
    severity="critical",
    each="github.deployments",
    beside=("register.changes",),
)
def github_deployed_changes_approved(
    deployment: Record, changes: Table, *, standard: tuple[str, ...] = ("standard",)
) -> Verdict:
    """A deployment names a change that somebody else approved before; ``standard`` kinds were approved once for all.

    The id of the change stands in the title or branch of a merged pull request, or in the description or ref of the
    deployment. Source: List deployments, List pull requests associated with a commit; changes.csv.
    Remedy: record the change that is missing, and name it where it is deployed.
    """
    other, texts = _github(deployment)
    return skip(other) if other else _approved(changes, deployment["created_at"], texts, standard)


@check(
    "joins.gitlab.deployed-changes-approved",
    title="What was deployed to production from GitLab was an approved change of the register",
    severity="critical",
    each="gitlab.deployments",
    beside=("register.changes",),
)
def gitlab_deployed_changes_approved(
    deployment: Record, changes: Table, *, standard: tuple[str, ...] = ("standard",)
) -> Verdict:
    """A deployment names a change that somebody else approved before; ``standard`` kinds were approved once for all.

    The id of the change stands in the title of a merged request, or in the ref of the deployment.
    Source: List project deployments, List merge requests associated with a deployment; changes.csv.
    Remedy: record the change that is missing, and name it where it is deployed.
    """
    other, texts = _gitlab(deployment)
    return skip(other) if other else _approved(changes, deployment["created_at"], texts, standard)


@check(
    "joins.github.deployed-tickets-approved",
    title="What was deployed to production from GitHub had an approved ticket in Jira",
    severity="critical",
    each="github.deployments",
    beside=("jira.changes",),
)
def github_deployed_tickets_approved(
    deployment: Record, tickets: Table, *, approved_statuses: tuple[str, ...] = APPROVED
) -> Verdict:
    """Each ticket a deployment names was brought into ``approved_statuses`` before, by neither reporter nor assignee.

    The key of the ticket stands in the title or branch of a merged pull request, or in the deployment.
    Source: List deployments, List pull requests associated with a commit; changelog of the ticket (``status``).
    Remedy: record the change that is missing, and name it where it is deployed.
    """
    other, texts = _github(deployment)
    return skip(other) if other else _ticketed(tickets, deployment["created_at"], texts, approved_statuses)


@check(
    "joins.gitlab.deployed-tickets-approved",
    title="What was deployed to production from GitLab had an approved ticket in Jira",
    severity="critical",
    each="gitlab.deployments",
    beside=("jira.changes",),
)
def gitlab_deployed_tickets_approved(
    deployment: Record, tickets: Table, *, approved_statuses: tuple[str, ...] = APPROVED
) -> Verdict:
    """Each ticket a deployment names was brought into ``approved_statuses`` before, by neither reporter nor assignee.

    The key of the ticket stands in the title of a merged request, or in the ref of the deployment.
    Source: List project deployments, List merge requests associated with a deployment; changelog of the ticket.
    Remedy: record the change that is missing, and name it where it is deployed.
    """
    other, texts = _gitlab(deployment)
    return skip(other) if other else _ticketed(tickets, deployment["created_at"], texts, approved_statuses)


@check(
    "joins.github.approver-did-not-deploy",
    title="Nobody deployed from GitHub a change they had approved",
    severity="high",
    each="github.deployments",
    beside=("register.changes", *PEOPLE),
)
def github_approver_did_not_deploy(
    deployment: Record,
    changes: Table,
    people: Table,
    identities: Table,
    *,
    as_of: datetime,
    scope: str,
    rules: tuple[str, ...] = RULES,
) -> Verdict:
    """Who started a deployment to production is not who approved the change it names; a bot is no person.

    Source: List deployments (``creator``), changes.csv (``approver``), people.csv, identities.csv. Who pressed the
    button that made a bot deploy is not seen.
    Remedy: have somebody else deploy.
    """
    other, texts = _github(deployment)
    if other:
        return skip(other)
    creator = deployment["creator"]
    if creator is None or creator["type"] == "Bot":
        return skip("deployed by no person")
    found = owner(people, identities, (scope, "github"), creator["login"], (), as_of, rules)
    return _separated(changes, texts, people, found, creator["login"], as_of)


@check(
    "joins.gitlab.approver-did-not-deploy",
    title="Nobody deployed from GitLab a change they had approved",
    severity="high",
    each="gitlab.deployments",
    beside=("register.changes", *PEOPLE),
)
def gitlab_approver_did_not_deploy(
    deployment: Record,
    changes: Table,
    people: Table,
    identities: Table,
    *,
    as_of: datetime,
    scope: str,
    rules: tuple[str, ...] = RULES,
) -> Verdict:
    """Who started a deployment to production is not who approved the change it names.

    Source: List project deployments (``user``), changes.csv (``approver``), people.csv, identities.csv. The user of a
    project's or group's token is no person.
    Remedy: have somebody else deploy.
    """
    other, texts = _gitlab(deployment)
    if other:
        return skip(other)
    name = deployment["user"]["username"]
    if re.fullmatch(r"(project|group)_[0-9]+_bot.*", name):
        return skip("deployed by no person")
    found = owner(people, identities, (scope, "gitlab"), name, (), as_of, rules)
    return _separated(changes, texts, people, found, name, as_of)
