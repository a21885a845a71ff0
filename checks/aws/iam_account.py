"""The AWS account itself: its root user and its password policy."""

from collections.abc import Iterator

from collector.api import Aws, Record, Row, Unavailable, Verdict, check, fail, ok, source
from collector.model import GapKind

KINDS = {
    "RequireUppercaseCharacters": "upper case",
    "RequireLowercaseCharacters": "lower case",
    "RequireNumbers": "digits",
    "RequireSymbols": "symbols",
}


@source("aws.iam.account-summary", key="Id", per="account", permissions=("iam:GetAccountSummary",))
def account_summary(aws: Aws) -> Iterator[Row]:
    """One record: what IAM counts in the account, and what it says of the root user."""
    yield {"Id": "account-summary", "GetAccountSummary": aws.call("iam", "get_account_summary")}


@source("aws.iam.password-policy", key="Id", per="account", permissions=("iam:GetAccountPasswordPolicy",))
def password_policy(aws: Aws) -> Iterator[Row]:
    """One record: the password policy of the account, or that none was ever set."""
    reply = aws.call("iam", "get_account_password_policy", absent=("NoSuchEntity",))
    yield {"Id": "password-policy", "GetAccountPasswordPolicy": reply}


@check(
    "aws.iam.root-mfa",
    title="The root user signs in with a second factor, or has no password to sign in with",
    severity="critical",
    over=("aws.iam.account-summary", "aws.iam.credential-report"),
)
def root_mfa(summaries: Iterator[Record], report: Iterator[Record]) -> Verdict:
    """Two independent replies say that the root user has an MFA device; if they disagree, nothing is concluded.

    Source: GetAccountSummary (``AccountMFAEnabled``, ``AccountPasswordPresent``) and the credential report
    (``mfa_active`` of ``<root_account>``).
    Remedy: sign in as root, Security credentials, Assign MFA device; or remove the root credentials of member accounts.
    """
    (row,) = summaries
    summary = row["GetAccountSummary"]["SummaryMap"]
    # Not every reply speaks of a password; one is assumed then, so that MFA is asked for.
    if summary.get("AccountPasswordPresent", 1) == 0:
        return ok("the root user has no password")
    devices = [user["mfa_active"] for user in report if user["user"] == "<root_account>"]
    if len(devices) != 1:
        raise Unavailable(GapKind.UNPROVEN, f"the credential report has {len(devices)} lines for the root user, not 1")
    told_by_summary = {0: False, 1: True}[summary["AccountMFAEnabled"]]
    told_by_report = {"false": False, "true": True}[devices[0]]
    if told_by_summary != told_by_report:
        said = {True: "that the root user has MFA", False: "that it has none"}
        raise Unavailable(
            GapKind.UNPROVEN,
            f"the account summary says {said[told_by_summary]}, the credential report says {said[told_by_report]}",
        )
    if not told_by_summary:
        return fail("the root user has a password and no MFA device")
    return ok("the root user has MFA, by the account summary and by the credential report")


@check(
    "aws.iam.root-no-access-keys",
    title="The root user has no access keys",
    severity="critical",
    each="aws.iam.account-summary",
)
def root_no_access_keys(summary: Record) -> Verdict:
    """The root user has no access key, active or not.

    Source: GetAccountSummary (``AccountAccessKeysPresent``).
    Remedy: sign in as root and delete the keys; give their users a role.
    """
    present = summary["GetAccountSummary"]["SummaryMap"]["AccountAccessKeysPresent"]
    if present == 0:
        return ok("the root user has no access keys")
    return fail(f"the root user has access keys (AccountAccessKeysPresent is {present}), limit 0")


@check(
    "aws.iam.password-policy-length",
    title="Passwords of console users have a minimum length",
    severity="medium",
    each="aws.iam.password-policy",
)
def password_policy_length(policy: Record, *, min_length: int = 14) -> Verdict:
    """The account's policy asks for passwords of at least ``min_length`` characters.

    Source: GetAccountPasswordPolicy (``MinimumPasswordLength``); it binds new passwords only.
    Remedy: ``aws iam update-account-password-policy --minimum-password-length 14`` with the other options kept.
    """
    reply = policy["GetAccountPasswordPolicy"]
    if reply is None:
        return fail("the account has no password policy")
    length = reply["PasswordPolicy"]["MinimumPasswordLength"]
    told = f"passwords have at least {length} characters, limit {min_length}"
    return ok(told) if length >= min_length else fail(told)


@check(
    "aws.iam.password-policy-reuse",
    title="Passwords of console users are not used again",
    severity="medium",
    each="aws.iam.password-policy",
)
def password_policy_reuse(policy: Record, *, min_remembered: int = 24) -> Verdict:
    """The account's policy refuses a user's last ``min_remembered`` passwords; 24 is the most AWS offers.

    Source: GetAccountPasswordPolicy (``PasswordReusePrevention``).
    Remedy: ``aws iam update-account-password-policy --password-reuse-prevention 24`` with the other options kept.
    """
    reply = policy["GetAccountPasswordPolicy"]
    if reply is None:
        return fail("the account has no password policy")
    remembered = reply["PasswordPolicy"].get("PasswordReusePrevention", 0)  # left out where reuse is not prevented
    told = f"the last {remembered} passwords are refused, limit {min_remembered}"
    return ok(told) if remembered >= min_remembered else fail(told)


@check(
    "aws.iam.password-policy-complexity",
    title="Passwords of console users mix kinds of characters",
    severity="low",
    each="aws.iam.password-policy",
)
def password_policy_complexity(policy: Record, *, min_kinds: int = 4) -> Verdict:
    """The account's policy asks for at least ``min_kinds`` of upper case, lower case, digits and symbols.

    Source: GetAccountPasswordPolicy (``RequireUppercaseCharacters`` and its three siblings).
    Remedy: ``aws iam update-account-password-policy --require-symbols --require-numbers ...``.
    """
    reply = policy["GetAccountPasswordPolicy"]
    if reply is None:
        return fail("the account has no password policy")
    asked = [kind for field, kind in KINDS.items() if reply["PasswordPolicy"][field]]
    told = f"passwords need {len(asked)} kinds of characters ({', '.join(asked) or 'none'}), limit {min_kinds}"
    return ok(told) if len(asked) >= min_kinds else fail(told)
