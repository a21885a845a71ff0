"""Keycloak users: how they are read, and what we require of them."""

from collections import Counter
from collections.abc import Iterator

from collector.api import Http, Offset, Personal, Record, Redaction, Row, Verdict, check, fail, ok, skip, source

REASON = "accounts are told apart by id and name of the account"
USERS = "keycloak:GET /admin/realms/{realm}/users"


@source(
    "keycloak.users",
    key="id",
    per="connection",
    permissions=("view-users",),
    redactions=(
        *(Redaction(USERS, REASON, json=f"[].{name}") for name in ("firstName", "lastName", "attributes.*[]")),
        *(
            Redaction(f"{USERS}/{{id}}/credentials", reason, json=f"[].{name}")
            for name, reason in (
                ("credentialData", "that a credential is enrolled is the fact, not how it is made"),
                ("secretData", "part of a credential"),
                ("value", "part of a credential"),
                ("userLabel", "names of devices name their owners"),
            )
        ),
    ),
    personal=(Personal(USERS, "email", json="[].email"), Personal(USERS, "name", json="[].username")),
)
def users(keycloak: Http) -> Iterator[Row]:
    """Every user of every realm the client is shown, disabled ones too, with credentials and roles given directly.

    Keycloak leaves the accounts of clients (service accounts) out of this list, and shows of a federated directory
    only what it has imported.
    """
    for realm in keycloak.pages("/admin/realms", briefRepresentation=True):
        name = realm["realm"]
        for user in keycloak.pages("/admin/realms/{realm}/users", realm=name, pager=Offset("first", "max")):
            of = {"realm": name, "id": user["id"]}
            yield {
                "Realm": name,
                **user,
                "getCredentials": keycloak.attempt_all("/admin/realms/{realm}/users/{id}/credentials", **of),
                "getRoleMappings": keycloak.attempt("/admin/realms/{realm}/users/{id}/role-mappings", **of),
            }


@source("keycloak.user-counts", key="Realm", per="connection", permissions=("view-users",))
def user_counts(keycloak: Http) -> Iterator[Row]:
    """One record for every realm: how many users Keycloak counts in it."""
    for realm in keycloak.pages("/admin/realms", briefRepresentation=True):
        name = realm["realm"]
        yield {"Realm": name, "countUsers": keycloak.attempt("/admin/realms/{realm}/users/count", realm=name)}


@check(
    "keycloak.users.second-factor",
    title="Keycloak users have a second factor",
    severity="high",
    each="keycloak.users",
)
def second_factor(user: Record, *, counted: tuple[str, ...] = ("otp", "webauthn", "webauthn-passwordless")) -> Verdict:
    """An enabled user who has a password here, or in a federated directory, has a credential of a type in ``counted``.

    A user without any credential and without a directory signs in with another provider, or not at all, and is
    skipped. Source: Get users (``enabled``, ``federationLink``; left out for local users), Get credentials (``type``).
    Remedy: give the user the required action *Configure OTP* or *WebAuthn register*.
    """
    if not user["enabled"]:
        return skip("the account is disabled")
    held = sorted({credential["type"] for credential in user["getCredentials"]})
    if not held and not user.get("federationLink"):
        return skip("the account has no credential here")
    found = [kind for kind in held if kind in counted]
    if found:
        return ok(f"enrolled: {', '.join(found)}")
    return fail(f"no second factor; enrolled: {', '.join(held) or 'none'}")


@check(
    "keycloak.users.reconciled",
    title="The evidence agrees on the users: list and count of each realm",
    severity="high",
    over=("keycloak.users", "keycloak.user-counts"),
    reconciles=("keycloak.users",),
)
def reconciled(users: Iterator[Record], counts: Iterator[Record]) -> Verdict:
    """The users listed in each realm are as many as Keycloak counts there.

    Not compared where users come from a federated directory: the list asks it, the count does not. A user made or
    removed between two of the replies is told as a disagreement. Source: Get users (``federationLink``, left out
    for local users), Count users.
    Remedy: collect again; if it stays, find out which reply is short before relying on either.
    """
    listed: Counter[str] = Counter()
    federated = set()
    for user in users:
        listed[user["Realm"]] += 1
        if user.get("federationLink"):
            federated.add(user["Realm"])
    counted = {row["Realm"]: row["countUsers"] for row in counts}
    compared = sorted({*counted, *listed} - federated)
    if not compared:
        return skip("the users of all realms come from a federated directory")
    differ = [name for name in compared if listed[name] != counted.get(name)]
    if differ:
        told = "; ".join(f"{name}: {listed[name]} listed, {counted.get(name)} counted" for name in differ)
        return fail(f"the numbers differ, limit none: {told}")
    total = sum(listed[name] for name in compared)
    return ok(f"{total} users are listed in {len(compared)} realms, in each as many as Keycloak counts")
