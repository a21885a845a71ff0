"""The names by which the realms of a Keycloak are known to those who trust them."""

from collections.abc import Iterator

from collector.api import Http, Row, source


@source("keycloak.issuers", key="realm", per="connection", permissions=("view-realm",))
def issuers(keycloak: Http) -> Iterator[Row]:
    """Every realm that the client is shown, with what the realm says of itself to everybody."""
    for realm in keycloak.pages("/admin/realms", briefRepresentation=True):
        name = realm["realm"]
        known = keycloak.attempt("/realms/{realm}/.well-known/openid-configuration", realm=name)
        yield {"realm": name, "getWellKnown": known}
