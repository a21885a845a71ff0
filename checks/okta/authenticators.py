"""Okta authenticators: which ways to sign in an organisation offers."""

from collections.abc import Iterator

from collector.api import Http, Record, Row, Verdict, check, fail, ok, skip, source


@source("okta.authenticators", key="id", per="connection", permissions=("okta.authenticators.read",))
def authenticators(okta: Http) -> Iterator[Row]:
    """Every authenticator of the organisation, active or not; Identity Engine only."""
    yield from okta.pages("/api/v1/authenticators")


@check(
    "okta.authenticators.phishing-resistant-offered",
    title="Okta offers an authenticator that withstands phishing",
    severity="medium",
    over=("okta.authenticators",),
)
def phishing_resistant_offered(
    authenticators: Iterator[Record], *, resistant: tuple[str, ...] = ("smart_card_idp", "webauthn")
) -> Verdict:
    """At least one authenticator whose key is in ``resistant`` is active.

    Source: List authenticators (``key``, ``status``).
    Remedy: Security, Authenticators: add FIDO2 (WebAuthn).
    """
    active = sorted({item["key"] for item in authenticators if item["status"] == "ACTIVE" and item["key"] in resistant})
    return ok(f"active: {', '.join(active)}") if active else fail(f"none of {', '.join(resistant)} is active")


@check(
    "okta.authenticators.weak-off",
    title="Okta offers no security questions",
    severity="medium",
    each="okta.authenticators",
)
def weak_off(authenticator: Record, *, weak: tuple[str, ...] = ("security_question",)) -> Verdict:
    """An authenticator whose key is in ``weak`` is not active.

    Source: List authenticators (``key``, ``status``).
    Remedy: Security, Authenticators: deactivate it.
    """
    if authenticator["key"] not in weak:
        return skip(f"{authenticator['key']} is not one of {', '.join(weak)}")
    told = f"{authenticator['key']} is {authenticator['status'].lower()}"
    return {"INACTIVE": ok(told), "ACTIVE": fail(told)}[authenticator["status"]]
