"""Who administers Keycloak: groups and roles, how they are read, and what we require of those who hold them."""

from collections.abc import Iterable, Iterator

from collector.api import Http, Offset, Personal, Record, Redaction, Row, Verdict, check, fail, ok, skip, source

ADMINISTRATIVE = (
    "admin", "create-realm", "impersonation", "manage-authorization", "manage-clients", "manage-identity-providers",
    "manage-realm", "manage-users", "realm-admin",
)  # fmt: skip
"""Roles with which a realm is changed, or more roles are taken."""

MEMBERS = "keycloak:GET /admin/realms/{realm}/groups/{id}/members"


@source(
    "keycloak.groups",
    key="Key",
    per="connection",
    permissions=("query-groups", "view-users"),
    redactions=tuple(
        Redaction(MEMBERS, "who is a member is told by id and name of the account", json=f"[].{name}")
        for name in ("firstName", "lastName", "attributes.*[]")
    ),
    personal=(Personal(MEMBERS, "email", json="[].email"), Personal(MEMBERS, "name", json="[].username")),
)
def groups(keycloak: Http) -> Iterator[Row]:
    """Every group of every realm the client is shown, groups below groups too, with its roles and direct members."""
    for realm in keycloak.pages("/admin/realms", briefRepresentation=True):
        name = realm["realm"]
        for top in keycloak.pages(
            "/admin/realms/{realm}/groups", realm=name, briefRepresentation=False, pager=Offset("first", "max")
        ):
            for group in _tree(keycloak, name, top):
                yield {
                    "Key": f"{name}{group['path']}",
                    "Realm": name,
                    **{field: value for field, value in group.items() if field != "subGroups"},
                    "getMembers": keycloak.attempt_all(
                        "/admin/realms/{realm}/groups/{id}/members",
                        realm=name, id=group["id"], briefRepresentation=True, pager=Offset("first", "max"),
                    ),
                }  # fmt: skip


def _tree(keycloak: Http, realm: str, group: Row) -> Iterator[Row]:
    """A group and all below it. Keycloak before 23 sends them along; later ones count them and are asked."""
    yield group
    below: Iterable[Row] = group.get("subGroups", [])
    if group.get("subGroupCount", 0) > len(group.get("subGroups", [])):
        below = keycloak.pages(
            "/admin/realms/{realm}/groups/{id}/children",
            realm=realm, id=group["id"], briefRepresentation=False, pager=Offset("first", "max"),
        )  # fmt: skip
    for child in below:
        yield from _tree(keycloak, realm, child)


@source("keycloak.roles", key="Key", per="connection", permissions=("view-realm",))
def roles(keycloak: Http) -> Iterator[Row]:
    """Every realm role of every realm the client is shown, and the roles that a composite one confers."""
    for realm in keycloak.pages("/admin/realms", briefRepresentation=True):
        name = realm["realm"]
        for role in keycloak.pages("/admin/realms/{realm}/roles", realm=name, pager=Offset("first", "max")):
            conferred = (
                keycloak.attempt_all(
                    "/admin/realms/{realm}/roles/{roleName}/composites", realm=name, roleName=role["name"]
                )
                if role["composite"]
                else []
            )
            yield {"Key": f"{name}/{role['name']}", "Realm": name, **role, "getComposites": conferred}


@check(
    "keycloak.administrators.few",
    title="Few users administer Keycloak",
    severity="high",
    over=("keycloak.users", "keycloak.groups", "keycloak.roles", "keycloak.clients"),
)
def few(
    users: Iterator[Record],
    groups: Iterator[Record],
    roles: Iterator[Record],
    clients: Iterator[Record],
    *,
    administrative: tuple[str, ...] = ADMINISTRATIVE,
    max_administrators: int = 5,
) -> Verdict:
    """At most ``max_administrators`` enabled users of all realms hold a role in ``administrative``, in whatever way.

    Counted are roles given directly, through a group or a group above it, and through a composite role of the realm;
    roles of a client that confer others are not followed. Accounts of clients are not among the users.
    Source: Get role mappings, Get groups (``realmRoles``, ``clientRoles``), Get members, Get composites, Get clients
    (``clientId``).
    Remedy: take the role away, or give a narrower one.
    """
    found = sorted(_administrators(users, groups, roles, clients, administrative).values(), key=_login)
    held = [user for user in found if user["enabled"]]
    told = f"{len(held)} enabled users administer Keycloak, limit {max_administrators}"
    return ok(told) if len(held) <= max_administrators else fail(f"{told}: {', '.join(map(_login, held[:20]))}")


@check(
    "keycloak.administrators.second-factor",
    title="Keycloak administrators have a second factor",
    severity="critical",
    over=("keycloak.users", "keycloak.groups", "keycloak.roles", "keycloak.clients"),
)
def second_factor(
    users: Iterator[Record],
    groups: Iterator[Record],
    roles: Iterator[Record],
    clients: Iterator[Record],
    *,
    administrative: tuple[str, ...] = ADMINISTRATIVE,
    counted: tuple[str, ...] = ("otp", "webauthn", "webauthn-passwordless"),
) -> Verdict:
    """Every enabled user with a role in ``administrative`` has a credential of a type in ``counted``.

    An administrator who signs in with another provider only has none here and fails: what the other asks is not seen.
    Source: as for keycloak.administrators.few, and Get credentials (``type``).
    Remedy: give the user the required action *WebAuthn register* or *Configure OTP*.
    """
    found = _administrators(users, groups, roles, clients, administrative).values()
    held = [user for user in found if user["enabled"]]
    if not held:
        return skip("no enabled user administers Keycloak")
    without = sorted(
        _login(user) for user in held if not any(item["type"] in counted for item in user["getCredentials"])
    )
    if without:
        return fail(f"{len(without)} of {len(held)} administrators have none: {', '.join(without[:20])}")
    return ok(f"all {len(held)} administrators have one")


@check(
    "keycloak.roles.default-plain",
    title="The role every Keycloak user gets confers no administration",
    severity="critical",
    over=("keycloak.roles", "keycloak.clients"),
)
def default_plain(
    roles: Iterator[Record], clients: Iterator[Record], *, administrative: tuple[str, ...] = ADMINISTRATIVE
) -> Verdict:
    """No role named ``default-roles-REALM`` confers a role in ``administrative``.

    Source: Get roles, Get composites (``name``, ``clientRole``, ``containerId``), Get clients (``clientId``).
    Remedy: take the role out of *Realm settings, User registration, Default roles*.
    """
    held = list(roles)
    defaults = {
        (role["Realm"], role["name"]) for role in held if role["name"] == f"default-roles-{role['Realm'].lower()}"
    }
    if not defaults:
        return skip("no realm has a default role of that name")
    bad = sorted(realm for realm, _ in defaults & _conferring(held, clients, administrative))
    if bad:
        return fail(f"everybody administers the realms {', '.join(bad)}")
    return ok(f"none of {len(defaults)} default roles confers administration")


def _login(user: Record) -> str:
    return f"{user['username']} in {user['Realm']}"


def _administers(realm: str, client_id: str) -> bool:
    """The clients whose roles administer realms: one in each, and one for each in the realm master."""
    return client_id.endswith("-realm") if realm == "master" else client_id == "realm-management"


def _conferring(roles: Iterable[Record], clients: Iterable[Record], wanted: tuple[str, ...]) -> set[tuple[str, str]]:
    """Realm roles, as realm and name, that are administrative or confer such a role, over any number of steps."""
    managing = {client["id"] for client in clients if _administers(client["Realm"], client["clientId"])}
    left = {(role["Realm"], role["name"]): role["getComposites"] for role in roles}
    found = {(realm, name) for realm, name in left if realm == "master" and name in wanted}
    while True:
        more = {
            (realm, name)
            for (realm, name), parts in left.items()
            if (realm, name) not in found
            and any(
                part["name"] in wanted and part["containerId"] in managing
                if part["clientRole"]
                else (realm, part["name"]) in found
                for part in parts
            )
        }
        if not more:
            return found
        found |= more


def _administrators(
    users: Iterator[Record],
    groups: Iterator[Record],
    roles: Iterator[Record],
    clients: Iterator[Record],
    wanted: tuple[str, ...],
) -> dict[tuple[str, str], Record]:
    """The users with an administrative role, by realm and id."""
    conferring = _conferring(roles, clients, wanted)

    def administers(realm: str, of_realm: Iterable[str], of_clients: Iterable[tuple[str, Iterable[str]]]) -> bool:
        return any((realm, name) in conferring for name in of_realm) or any(
            _administers(realm, client) and set(names) & set(wanted) for client, names in of_clients
        )

    members: set[tuple[str, str]] = set()
    held = list(groups)
    paths = {
        group["Key"]
        for group in held
        if administers(group["Realm"], group["realmRoles"], group["clientRoles"].items())
    }
    for group in held:
        if any(group["Key"] == path or group["Key"].startswith(f"{path}/") for path in paths):
            members |= {(group["Realm"], member["id"]) for member in group["getMembers"]}
    found = {}
    for user in users:
        given = user["getRoleMappings"]  # Keycloak leaves out what is not given
        of_clients = [
            (name, [role["name"] for role in held["mappings"]])
            for name, held in given.get("clientMappings", {}).items()
        ]
        of_realm = [role["name"] for role in given.get("realmMappings", [])]
        if (user["Realm"], user["id"]) in members or administers(user["Realm"], of_realm, of_clients):
            found[user["Realm"], user["id"]] = user
    return found
