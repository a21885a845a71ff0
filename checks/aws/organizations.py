"""AWS Organizations: which accounts there are, and which guardrails are laid over them."""

from collections.abc import Iterator
from typing import Any

from collector.api import Aws, Record, Redaction, Row, Verdict, check, fail, ok, skip, source
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
    over=("aws.organizations.accounts",),
)
def accounts_collected(accounts: Iterator[Record], *, collected_accounts: tuple[str, ...] = ()) -> Verdict:
    """Every active account of the organisation is one of ``collected_accounts``.

    Source: ListAccounts (``State``, which took the place of ``Status``). Only the management account and delegated
    administrators are answered, others are refused. Skipped where there is no organisation.
    Remedy: add the account to the collection and to ``collected_accounts``.
    """
    # Status goes away on 2026-09-09; recordings and emulators of before then have no State.
    states = {account["Id"]: account["State"] if "State" in account else account["Status"] for account in accounts}
    if not states:
        return skip("the account is in no organisation")
    active = [account for account, state in states.items() if state == "ACTIVE"]
    missing = sorted(set(active) - set(map(str, collected_accounts)))
    if missing:
        some = ", ".join(missing[:10]) + (", ..." if len(missing) > 10 else "")
        return fail(f"{len(missing)} of {len(active)} active accounts are not collected ({some}), limit 0")
    return ok(f"all {len(active)} active accounts are collected")


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
