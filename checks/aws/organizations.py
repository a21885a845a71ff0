"""AWS Organizations: which accounts there are, and which guardrails are laid over them."""

from collections.abc import Iterator
from typing import Any

from collector.api import Aws, Record, Redaction, Row, Table, Verdict, check, fail, ok, skip, source
from collector.iam_policy import grants_all, statements

NO_ORGANISATION = ("AWSOrganizationsNotInUseException",)
"""AWS's way of saying that the account is in no organisation. A member account is refused instead, which is a gap."""


@source(
    "aws.organizations.accounts",
    key="Id",
    per="account",
    permissions=("organizations:ListAccounts",),
    redactions=(
        Redaction(
            operation="organizations:ListAccounts",
            json="Accounts[].Email",
            reason="the address of a root user opens the way to its password and is no evidence of anything asked here",
        ),
    ),
)
def accounts(aws: Aws) -> Iterator[Row]:
    """Every account of the organisation, whatever its state; none where the account is in no organisation."""
    yield from _whole(aws, "list_accounts", "Accounts")


@source(
    "aws.organizations.policies",
    key="Id",
    per="account",
    permissions=("organizations:ListPolicies", "organizations:DescribePolicy", "organizations:ListTargetsForPolicy"),
    filters="service control policies",
)
def policies(aws: Aws) -> Iterator[Row]:
    """Every service control policy of the organisation, with its text and what it is attached to."""
    for policy in _whole(aws, "list_policies", "Policies", Filter="SERVICE_CONTROL_POLICY"):
        which = {"PolicyId": policy["Id"]}
        yield {
            **policy,
            "DescribePolicy": aws.attempt("organizations", "describe_policy", **which),
            "ListTargetsForPolicy": aws.attempt_all(
                "organizations", "list_targets_for_policy", rows="Targets", **which
            ),
        }


def _whole(aws: Aws, operation: str, rows: str, **params: Any) -> Iterator[Any]:
    """The records of a whole list; none where the account is in no organisation."""
    listing = aws.attempt_all("organizations", operation, rows=rows, absent=NO_ORGANISATION, **params)
    for (found,) in aws.ahead([(listing,)]):
        yield from found or ()


@check(
    "aws.organizations.accounts-collected",
    title="Every account of the organisation is among those that are collected",
    severity="high",
    each="aws.organizations.accounts",
    beside=("aws.sts.caller-identity",),
)
def accounts_collected(account: Record, callers: Table, *, collected_accounts: tuple[str, ...] = ()) -> Verdict:
    """An active account is one of ``collected_accounts``, or the one that a connection of this run asks in.

    Source: ListAccounts (``State``, which took the place of ``Status``), GetCallerIdentity (``Account``). Only the
    management account and delegated administrators are answered, others are refused. Skipped where there is no
    organisation.
    Remedy: add the account to the connection that shall read it.
    """
    # Status goes away on 2026-09-09; recordings and emulators of before then have no State.
    state = account["State"] if "State" in account else account["Status"]
    if state != "ACTIVE":
        return skip(f"the account is {state.lower()}")
    if account["Id"] in map(str, collected_accounts):
        return ok("the account is declared to be collected")
    if callers.where("Account", account["Id"]):
        return ok("the account is the one that a connection asks in")
    return fail(f"the account is active and not collected; {len(collected_accounts)} accounts are declared")


@check(
    "aws.organizations.service-control-policies",
    title="Guardrails of the organisation are attached",
    severity="medium",
    over=("aws.organizations.accounts", "aws.organizations.policies"),
)
def service_control_policies(accounts: Iterator[Record], policies: Iterator[Record]) -> Verdict:
    """A service control policy that takes something away is attached to the root, a unit or an account.

    A policy that only allows everything, such as AWS's own FullAWSAccess, takes nothing away.
    Source: ListPolicies, DescribePolicy (``Content``), ListTargetsForPolicy. Skipped where there is no organisation.
    Remedy: ``aws organizations attach-policy`` with a policy that denies what no account may do.
    """
    if next(accounts, None) is None:
        return skip("the account is in no organisation")
    listed = 0
    attached: list[str] = []
    for policy in policies:
        listed += 1
        targets = policy["ListTargetsForPolicy"]
        document = statements(policy["DescribePolicy"]["Policy"]["Content"])
        if targets and not all(grants_all(statement) for statement in document):
            attached.append(f"{policy['Name']} to {len(targets)} targets")
    told = f"{len(attached)} of {listed} service control policies take something away and are attached"
    if attached:
        return ok(f"{told}: {', '.join(attached[:10])}")
    return fail(f"{told}, limit at least 1")
