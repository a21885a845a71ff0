"""AWS caller identity: as whom everything else is read."""

from collections.abc import Iterator

from collector.api import Aws, Row, source


@source("aws.sts.caller-identity", key="Account", per="account", permissions=("sts:GetCallerIdentity",))
def caller_identity(aws: Aws) -> Iterator[Row]:
    """The account, ARN and user id that AWS sees behind the credential; always read first."""
    yield aws.call("sts", "get_caller_identity")
