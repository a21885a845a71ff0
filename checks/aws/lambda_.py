"""AWS Lambda functions: how they are read, and what we require of them."""

from collections.abc import Iterator
from datetime import datetime

from collector.api import Aws, Record, Redaction, Row, Unavailable, Verdict, check, fail, instant, ok, skip, source
from collector.iam_policy import is_public, statements
from collector.model import GapKind

END_OF_SUPPORT = {
    "nodejs": "2016-10-31", "nodejs4.3": "2020-03-05", "nodejs4.3-edge": "2020-03-05", "nodejs6.10": "2019-08-12",
    "nodejs8.10": "2020-03-06", "nodejs10.x": "2021-07-30", "nodejs12.x": "2023-03-31", "nodejs14.x": "2023-12-04",
    "nodejs16.x": "2024-06-12", "nodejs18.x": "2025-09-01", "nodejs20.x": "2026-04-30", "nodejs22.x": "2027-04-30",
    "nodejs24.x": "2028-04-30",
    "python2.7": "2021-07-15", "python3.6": "2022-07-18", "python3.7": "2023-12-04", "python3.8": "2024-10-14",
    "python3.9": "2025-12-15", "python3.10": "2026-10-31", "python3.11": "2027-06-30", "python3.12": "2028-10-31",
    "python3.13": "2029-06-30", "python3.14": "2029-06-30",
    "java8": "2024-01-08", "java8.al2": "2027-06-30", "java11": "2027-06-30", "java17": "2027-06-30",
    "java21": "2029-06-30", "java25": "2029-06-30",
    "dotnetcore1.0": "2019-07-27", "dotnetcore2.0": "2019-05-30", "dotnetcore2.1": "2022-01-05",
    "dotnetcore3.1": "2023-04-03", "dotnet5.0": "2022-05-10", "dotnet6": "2024-12-20", "dotnet7": "2024-05-14",
    "dotnet8": "2026-11-10", "dotnet10": "2028-11-14",
    "ruby2.5": "2021-07-30", "ruby2.7": "2023-12-07", "ruby3.2": "2026-03-31", "ruby3.3": "2027-03-31",
    "ruby3.4": "2028-03-31", "ruby4.0": "2029-03-31",
    "go1.x": "2024-01-08", "provided": "2024-01-08", "provided.al2": "2026-07-31", "provided.al2023": "2029-06-30",
}  # fmt: skip
"""The day on which AWS ends the support of a runtime, as it published them in autumn 2026; dates may move."""

SECRET_WORDS = (
    "ACCESS_KEY", "APIKEY", "API_KEY", "CREDENTIAL", "PASSWD", "PASSWORD", "PRIVATE_KEY", "SECRET", "TOKEN",
)  # fmt: skip


@source(
    "aws.lambda.functions",
    key="FunctionName",
    per="region",
    permissions=("lambda:ListFunctions", "lambda:GetPolicy"),
    redactions=(
        Redaction(
            operation="lambda:ListFunctions*",
            json="Functions[].Environment.Variables.*",
            reason="values of environment variables may be secrets; their names are kept",
        ),
    ),
)
def functions(aws: Aws) -> Iterator[Row]:
    """Every function of the region in its newest state, values of environment variables taken out."""
    for function in aws.pages("lambda", "list_functions", rows="Functions"):
        name = function["FunctionName"]
        policy = aws.attempt("lambda", "get_policy", FunctionName=name, absent=("ResourceNotFoundException",))
        yield {**function, "GetPolicy": policy}


@check(
    "aws.lambda.runtime-supported",
    title="Functions run on a runtime that is still patched",
    severity="medium",
    each="aws.lambda.functions",
)
def runtime_supported(function: Record, *, as_of: datetime, min_days_left: int = 0) -> Verdict:
    """The runtime is supported on the day of collection, and for ``min_days_left`` days more.

    Source: ListFunctions (``PackageType``, ``Runtime``), held against the dates AWS publishes. Container images bring
    their own runtime and are skipped. A runtime we have no date for is not judged.
    Remedy: ``aws lambda update-function-configuration --runtime``.
    """
    if function["PackageType"] == "Image":
        return skip("a container image brings its own runtime")
    runtime = function["Runtime"]
    if runtime not in END_OF_SUPPORT:
        raise Unavailable(GapKind.UNSUPPORTED, f"we hold no end of support for the runtime {runtime}")
    days = (instant(f"{END_OF_SUPPORT[runtime]}T00:00:00Z").date() - as_of.date()).days
    if days < 0:
        return fail(f"support for {runtime} ended on {END_OF_SUPPORT[runtime]}")
    reason = f"support for {runtime} ends on {END_OF_SUPPORT[runtime]}, {days} days left, minimum {min_days_left}"
    return fail(reason) if days < min_days_left else ok(reason)


@check(
    "aws.lambda.policy-not-public",
    title="Functions cannot be invoked by everyone",
    severity="critical",
    each="aws.lambda.functions",
)
def policy_not_public(function: Record) -> Verdict:
    """No statement of the function's policy allows any principal without a condition that narrows it.

    Source: GetPolicy (``Policy``) of the unqualified function; there is none until a permission is added. A function
    URL without authorisation needs such a statement, and fails here. Policies of versions and aliases are not read.
    Remedy: ``aws lambda remove-permission``.
    """
    reply = function["GetPolicy"]
    if reply is None:
        return ok("the function has no policy")
    found = statements(reply["Policy"])
    public = [each.get("Sid", f"number {place}") for place, each in enumerate(found, 1) if is_public(each)]
    if public:
        return fail(f"the policy admits everyone in statement {', '.join(public)}")
    return ok(f"none of {len(found)} statements of the policy admits everyone")


@check(
    "aws.lambda.no-secret-named-variables",
    title="Functions carry no environment variable named like a secret",
    severity="medium",
    each="aws.lambda.functions",
)
def no_secret_named_variables(
    function: Record,
    *,
    words: tuple[str, ...] = SECRET_WORDS,
    reference_endings: tuple[str, ...] = ("_ARN", "_ID", "_NAME", "_PARAMETER", "_PATH"),
) -> Verdict:
    """No variable's name contains one of ``words``, unless it ends like that of a reference (``reference_endings``).

    Source: ListFunctions (``Environment.Variables``: names only, values are never kept). Where the variables cannot be
    decrypted for the reader their names are unknown too.
    Remedy: keep the value in Secrets Manager and name its ARN instead.
    """
    environment = function.get("Environment")  # left out where there are no variables
    if environment is None:
        return ok("the function has no environment variables")
    if "Error" in environment:
        code = environment["Error"]["ErrorCode"]
        raise Unavailable(GapKind.DENIED, f"the environment variables were withheld ({code})", "kms:Decrypt")
    names = list(environment["Variables"])
    suspect = [
        name for name in names
        if any(word in name.upper() for word in words) and not name.upper().endswith(tuple(reference_endings))
    ]  # fmt: skip
    if suspect:
        return fail(f"variables named like secrets: {', '.join(sorted(suspect))}")
    return ok(f"none of {len(names)} environment variables is named like a secret")
