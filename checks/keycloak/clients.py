"""Keycloak clients: how they are read, and what we require of them."""

from collections.abc import Iterator

from collector.api import (
    GapKind,
    Http,
    Offset,
    Record,
    Redaction,
    Row,
    Unavailable,
    Verdict,
    check,
    fail,
    ok,
    skip,
    source,
)

CLIENTS = "keycloak:GET /admin/realms/{realm}/clients"
PRIVATE = r'"(?:saml\.(?:signing|encryption)\.private\.key|client\.secret\.rotated)"\s*:\s*"(?P<secret>[^"]*)"'


@source(
    "keycloak.clients",
    key="id",
    per="connection",
    permissions=("view-clients",),
    redactions=(
        Redaction(CLIENTS, "secret of the client", json="[].secret"),
        Redaction(CLIENTS, "secret of the client", json="[].registrationAccessToken"),
        Redaction(CLIENTS, "private key or secret of the client", regex=PRIVATE),
    ),
)
def clients(keycloak: Http) -> Iterator[Row]:
    """Every client of every realm the reader is shown, Keycloak's own included."""
    for realm in keycloak.pages("/admin/realms", briefRepresentation=True):
        name = realm["realm"]
        for client in keycloak.pages("/admin/realms/{realm}/clients", realm=name, pager=Offset("first", "max")):
            yield {"Realm": name, **client}


@check(
    "keycloak.clients.redirects-exact",
    title="Keycloak clients redirect to exact addresses",
    severity="high",
    each="keycloak.clients",
)
def redirects_exact(client: Record) -> Verdict:
    """A client that users sign in to names the addresses they are sent back to, without a wildcard.

    Addresses below ``/realms/`` and ``/admin/`` are pages of Keycloak itself. Source: Get clients (``redirectUris``,
    ``standardFlowEnabled``, ``implicitFlowEnabled``).
    Remedy: *Clients, Settings, Valid redirect URIs*.
    """
    if not _used(client):
        return skip("the client is disabled")
    if not client["standardFlowEnabled"] and not client["implicitFlowEnabled"]:
        return skip("nobody is redirected to the client")
    wide = [uri for uri in client["redirectUris"] if "*" in uri and not uri.startswith(("/realms/", "/admin/"))]
    if wide:
        return fail(f"redirects with a wildcard: {', '.join(sorted(wide)[:10])}")
    return ok(f"{len(client['redirectUris'])} addresses, none with a wildcard beyond Keycloak's own pages")


@check(
    "keycloak.clients.no-implicit-flow",
    title="Keycloak clients get no tokens in addresses",
    severity="high",
    each="keycloak.clients",
)
def no_implicit_flow(client: Record) -> Verdict:
    """The implicit flow, which hands tokens out in the address, is off.

    Source: Get clients (``implicitFlowEnabled``).
    Remedy: *Clients, Settings, Capability config*: use the standard flow with PKCE.
    """
    if not _used(client):
        return skip("the client is disabled")
    return fail("the implicit flow is on") if client["implicitFlowEnabled"] else ok("the implicit flow is off")


@check(
    "keycloak.clients.no-password-grant",
    title="Keycloak clients do not handle passwords of users",
    severity="medium",
    each="keycloak.clients",
)
def no_password_grant(client: Record, *, allowed: tuple[str, ...] = ("admin-cli",)) -> Verdict:
    """Direct access grants, with which the client takes the user's password, are off but for ``allowed`` clients.

    The browser flow and its second factor are passed by in this grant. Source: Get clients
    (``directAccessGrantsEnabled``). ``admin-cli`` is Keycloak's own.
    Remedy: *Clients, Settings, Capability config, Direct access grants*.
    """
    if not _used(client):
        return skip("the client is disabled")
    if client["clientId"] in allowed:
        return skip("the client is declared to need it")
    return (
        fail("direct access grants are on")
        if client["directAccessGrantsEnabled"]
        else ok("direct access grants are off")
    )


@check(
    "keycloak.clients.pkce",
    title="Public Keycloak clients prove who began the sign-in",
    severity="high",
    each="keycloak.clients",
)
def pkce(client: Record, *, exempt: tuple[str, ...] = ("account",)) -> Verdict:
    """A public client of OpenID Connect with the standard flow must use PKCE with S256.

    Source: Get clients (``publicClient``, ``attributes``: ``pkce.code.challenge.method``, left out where PKCE is
    optional). ``account`` is a page of Keycloak's own without it.
    Remedy: *Clients, Advanced, Proof Key for Code Exchange Code Challenge Method*.
    """
    if not _used(client):
        return skip("the client is disabled")
    if not client["publicClient"] or client["protocol"] != "openid-connect" or not client["standardFlowEnabled"]:
        return skip("not a public client of OpenID Connect with the standard flow")
    if client["clientId"] in exempt:
        return skip("the client is declared exempt")
    method = client.get("attributes", {}).get("pkce.code.challenge.method", "")
    return (
        ok("PKCE with S256 is required") if method == "S256" else fail(f"PKCE is {method or 'optional'}, S256 wanted")
    )


@check(
    "keycloak.clients.scope-limited",
    title="Keycloak clients get only the roles they need",
    severity="low",
    each="keycloak.clients",
)
def scope_limited(client: Record, *, own: tuple[str, ...] = ("admin-cli", "security-admin-console")) -> Verdict:
    """A client's tokens do not carry all roles of the user: full scope is off. Consoles of Keycloak's ``own`` need it.

    Source: Get clients (``fullScopeAllowed``). Clients that only receive tokens are skipped.
    Remedy: *Clients, Client scopes, Dedicated scope, Scope, Full scope allowed*.
    """
    if not _used(client):
        return skip("the client is disabled")
    if client["bearerOnly"] or client["clientId"] in own:
        return skip("the client only receives tokens, or is a console of Keycloak")
    return fail("tokens carry all roles of the user") if client["fullScopeAllowed"] else ok("full scope is off")


def _used(client: Record) -> bool:
    """Whether the client is enabled.

    Raises:
        Unavailable: Keycloak showed only a part of it (kind ``denied``).
    """
    if "enabled" not in client:
        raise Unavailable(GapKind.DENIED, "only a part of the client is shown: the role view-clients is missing")
    return bool(client["enabled"])
