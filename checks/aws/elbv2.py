"""Application, network and gateway load balancers: how they are read, and what we require of them."""

from collections.abc import Iterator
from fnmatch import fnmatchcase

from collector.api import Aws, Record, Redaction, Row, Verdict, check, fail, ok, skip, source

ENCRYPTED = ("HTTPS", "TLS")


@source(
    "aws.elbv2.load-balancers",
    key="LoadBalancerName",
    per="region",
    permissions=(
        "elasticloadbalancing:DescribeLoadBalancers", "elasticloadbalancing:DescribeLoadBalancerAttributes",
        "elasticloadbalancing:DescribeListeners", "elasticloadbalancing:DescribeRules",
    ),
    redactions=(
        Redaction(
            operation="elasticloadbalancing:Describe*",
            regex=r"<ClientSecret>(?P<secret>[^<]*)</ClientSecret>",
            reason="the OpenID Connect secret of a listener; no check needs it",
        ),
    ),
)  # fmt: skip
def load_balancers(aws: Aws) -> Iterator[Row]:
    """Every load balancer of the region but classic ones, with its listeners; HTTP listeners with their rules."""
    balancers = aws.pages("elbv2", "describe_load_balancers", rows="LoadBalancers")
    for balancer, listeners in aws.ahead((balancer, _listeners(aws, balancer)) for balancer in balancers):
        arn = balancer["LoadBalancerArn"]
        yield {
            **balancer,
            "DescribeLoadBalancerAttributes": aws.attempt(
                "elbv2", "describe_load_balancer_attributes", LoadBalancerArn=arn
            ),
            "DescribeListeners": [
                {**listener, "DescribeRules": _rules(aws, listener)} if listener["Protocol"] == "HTTP" else listener
                for listener in listeners
            ],
        }


def _listeners(aws: Aws, balancer: Row) -> object:
    return aws.attempt_all("elbv2", "describe_listeners", rows="Listeners", LoadBalancerArn=balancer["LoadBalancerArn"])


def _rules(aws: Aws, listener: Row) -> object:
    return aws.attempt_all("elbv2", "describe_rules", rows="Rules", ListenerArn=listener["ListenerArn"])


@check(
    "aws.elbv2.tls-listeners",
    title="Application load balancers speak TLS",
    severity="high",
    each="aws.elbv2.load-balancers",
)
def tls_listeners(balancer: Record) -> Verdict:
    """Every listener is HTTPS, or HTTP with no rule but redirects to HTTPS.

    Source: DescribeListeners (``Protocol``), DescribeRules (``Actions``). Network and gateway load balancers forward
    what they do not read, and are skipped.
    Remedy: ``aws elbv2 modify-listener``: HTTPS, or a redirect.
    """
    if balancer["Type"] != "application":
        return skip(f"a {balancer['Type']} load balancer; rules for HTTP do not apply")
    listeners = balancer["DescribeListeners"]
    if not listeners:
        return skip("the load balancer has no listener")
    plain = [
        str(listener["Port"]) for listener in listeners if listener["Protocol"] != "HTTPS" and not _redirects(listener)
    ]
    if plain:
        return fail(f"port {', '.join(plain)} answers without TLS")
    return ok(f"each of {len(listeners)} listeners uses TLS or redirects to it")


@check(
    "aws.elbv2.tls-policy",
    title="Load balancers offer only allowed TLS versions",
    severity="high",
    each="aws.elbv2.load-balancers",
)
def tls_policy(
    balancer: Record,
    *,
    allowed: tuple[str, ...] = (
        "ELBSecurityPolicy-TLS13-1-3-*",
        "ELBSecurityPolicy-TLS13-1-2-*",
        "ELBSecurityPolicy-TLS-1-2-*",
        "ELBSecurityPolicy-FS-1-2-*",
    ),
) -> Verdict:
    """The security policy of every HTTPS or TLS listener is one of ``allowed`` (``*`` is a wild card).

    Source: DescribeListeners (``SslPolicy``). The policies allowed by default offer TLS 1.2 and newer: AWS names the
    oldest version in the policy's name. Load balancers that end no TLS are skipped.
    Remedy: ``aws elbv2 modify-listener --ssl-policy``.
    """
    listeners = [each for each in balancer["DescribeListeners"] if each["Protocol"] in ENCRYPTED]
    if not listeners:
        return skip("no listener ends TLS")
    others = [
        f"{each['SslPolicy']} on port {each['Port']}"
        for each in listeners
        if not any(fnmatchcase(each["SslPolicy"], pattern) for pattern in allowed)
    ]
    if others:
        return fail(f"a security policy that is not allowed: {', '.join(others)}")
    return ok(f"security policies in use: {', '.join(sorted({each['SslPolicy'] for each in listeners}))}")


@check(
    "aws.elbv2.access-logs",
    title="Load balancers keep access logs",
    severity="medium",
    each="aws.elbv2.load-balancers",
)
def access_logs(balancer: Record) -> Verdict:
    """Access logs are written to S3.

    Source: DescribeLoadBalancerAttributes (``access_logs.s3.enabled``). Gateway load balancers have none; those of
    network load balancers cover TLS listeners only, and one without is skipped.
    Remedy: ``aws elbv2 modify-load-balancer-attributes``.
    """
    if balancer["Type"] == "gateway":
        return skip("a gateway load balancer has no access logs")
    if balancer["Type"] == "network" and all(each["Protocol"] != "TLS" for each in balancer["DescribeListeners"]):
        return skip("a network load balancer logs TLS listeners only, and has none")
    on = _attributes(balancer)["access_logs.s3.enabled"] == "true"
    return ok("access logs are on") if on else fail("access logs are off")


@check(
    "aws.elbv2.deletion-protection",
    title="Load balancers cannot be deleted by mistake",
    severity="low",
    each="aws.elbv2.load-balancers",
)
def deletion_protection(balancer: Record) -> Verdict:
    """Deletion protection is on.

    Source: DescribeLoadBalancerAttributes (``deletion_protection.enabled``).
    Remedy: ``aws elbv2 modify-load-balancer-attributes``.
    """
    on = _attributes(balancer)["deletion_protection.enabled"] == "true"
    return ok("deletion protection is on") if on else fail("deletion protection is off")


def _attributes(balancer: Record) -> dict[str, str]:
    return {each["Key"]: each["Value"] for each in balancer["DescribeLoadBalancerAttributes"]["Attributes"]}


def _redirects(listener: Record) -> bool:
    """True when every rule of a listener, its default one included, does nothing but redirect to HTTPS."""
    actions = [action for rule in listener["DescribeRules"] for action in rule["Actions"]]
    return bool(actions) and all(
        action["Type"] == "redirect" and action["RedirectConfig"]["Protocol"] == "HTTPS" for action in actions
    )
