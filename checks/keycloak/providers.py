"""Where Keycloak lets users come from: identity providers and federated directories."""

from collections.abc import Iterator

from collector.api import Http, Record, Redaction, Row, Verdict, check, fail, ok, skip, source

COMPONENTS = "keycloak:GET /admin/realms/{realm}/components"


@source(
    "keycloak.identity-providers",
    key="Key",
    per="connection",
    permissions=("view-identity-providers",),
    redactions=(
        Redaction(
            "keycloak:GET /admin/realms/{realm}/identity-provider/instances",
            "secret for the other side",
            json="[].config.clientSecret",
        ),
    ),
)
def identity_providers(keycloak: Http) -> Iterator[Row]:
    """Every identity provider that users of a realm may sign in with."""
    for realm in keycloak.pages("/admin/realms", briefRepresentation=True):
        name = realm["realm"]
        for provider in keycloak.pages("/admin/realms/{realm}/identity-provider/instances", realm=name):
            yield {"Key": f"{name}/{provider['alias']}", "Realm": name, **provider}


@source(
    "keycloak.user-federation",
    key="id",
    per="connection",
    permissions=("view-realm",),
    redactions=(Redaction(COMPONENTS, "password for the directory", json="[].config.bindCredential[]"),),
    filters="of the components, those that federate users",
)
def user_federation(keycloak: Http) -> Iterator[Row]:
    """Every directory that a realm takes users from, LDAP and others."""
    for realm in keycloak.pages("/admin/realms", briefRepresentation=True):
        name = realm["realm"]
        for part in keycloak.pages(
            "/admin/realms/{realm}/components", realm=name, type="org.keycloak.storage.UserStorageProvider"
        ):
            yield {"Realm": name, **part}


@check(
    "keycloak.identity-providers.signatures",
    title="Keycloak verifies what other identity providers say",
    severity="high",
    each="keycloak.identity-providers",
)
def signatures(provider: Record) -> Verdict:
    """Signatures of an enabled OpenID Connect or SAML provider are verified; of SAML, those of the assertion too.

    Source: Get identity providers (``config``: ``validateSignature``, ``wantAssertionsSigned``, text, left out where
    never set). Providers of other kinds, such as social networks, have no such setting and are skipped.
    Remedy: *Identity providers, Settings, Validate signatures*.
    """
    if not provider["enabled"]:
        return skip("the provider is disabled")
    if provider["providerId"] not in ("oidc", "keycloak-oidc", "saml"):
        return skip(f"a provider of kind {provider['providerId']} has no such setting")
    wanted = ["validateSignature"] + (["wantAssertionsSigned"] if provider["providerId"] == "saml" else [])
    off = [name for name in wanted if provider["config"].get(name) != "true"]
    return fail(f"not on: {', '.join(off)}") if off else ok("signatures are verified")


@check(
    "keycloak.identity-providers.email-not-trusted",
    title="Keycloak does not take e-mail addresses from other identity providers as verified",
    severity="medium",
    each="keycloak.identity-providers",
)
def email_not_trusted(provider: Record, *, trusted: tuple[str, ...] = ()) -> Verdict:
    """Addresses from an enabled provider are verified anew, but for providers whose alias is in ``trusted``.

    Who controls an address at the other side could otherwise take over an account here. Source: Get identity
    providers (``trustEmail``).
    Remedy: *Identity providers, Settings, Trust email*; or name a provider of the organisation's own as trusted.
    """
    if not provider["enabled"]:
        return skip("the provider is disabled")
    if provider["alias"] in trusted:
        return skip("the provider is declared trusted")
    return fail("addresses are trusted unverified") if provider["trustEmail"] else ok("addresses are verified")


@check(
    "keycloak.user-federation.encrypted",
    title="Keycloak speaks to directories over TLS",
    severity="high",
    each="keycloak.user-federation",
)
def encrypted(directory: Record) -> Verdict:
    """Every address of an enabled LDAP directory is ``ldaps``, or StartTLS is on.

    Source: Get components (``config``: ``connectionUrl``, ``startTls``, ``enabled``; the last two left out where never
    set, which means off and on). Directories of other kinds are skipped.
    Remedy: *User federation, Settings, Connection URL*.
    """
    config = directory["config"]
    if directory["providerId"] != "ldap":
        return skip(f"a directory of kind {directory['providerId']} is not asked over LDAP")
    if config.get("enabled", ["true"]) != ["true"]:
        return skip("the directory is disabled")
    if config.get("startTls", ["false"]) == ["true"]:
        return ok("StartTLS is on")
    if not config["connectionUrl"][0].strip():
        return fail("no address is named")
    plain = [url for url in config["connectionUrl"][0].split() if not url.lower().startswith("ldaps://")]
    return fail(f"not encrypted: {', '.join(plain)}") if plain else ok("all addresses are ldaps")
