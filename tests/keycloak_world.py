"""A Keycloak server on loopback: realms that a test fills; each reply is held against a description of its API."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from tests.http_world import SPECS, Contract, Handler, HttpWorld, Reply, Request

A = "/admin/realms/{realm}"
DISCOVERY = "/realms/{realm}/.well-known/openid-configuration"
NEWER = (f"{A}/groups/{{id}}/children", DISCOVERY)
"""Not in the description, which is of version 23: asked of current versions, and of everybody."""


class KeycloakWorld(HttpWorld):
    """Realms by name, each with its settings and lists; lists are handed out by ``first`` and ``max``."""

    kind = "keycloak"
    _contract: Contract | None = None

    def __init__(self, tmp: Path, size: int = 2) -> None:
        super().__init__(tmp)
        self.realms: dict[str, dict[str, Any]] = {}
        self.size = size
        """More than this is never handed out on one page."""
        if SPECS.is_dir() and KeycloakWorld._contract is None:
            KeycloakWorld._contract = Contract("keycloak-collector.openapi.json")
        self.contract = KeycloakWorld._contract
        if self.contract:
            self.contract.faults, self.contract.held = [], 0
        self._furnish()

    def fill(self, file: Path) -> None:
        """Put the realms of a file into the world."""
        self.realms.update(json.loads(file.read_text("utf8")))

    def checked(self, request: Request, template: str, reply: Reply) -> None:
        if self.contract and template not in NEWER:
            named = template.replace("{roleName}", "{role-name}")
            query = {name: value for name, value in request.query.items() if not name.startswith("{")}
            plain = Request(request.method, request.path, query, request.headers, request.body)
            with self._lock:
                self.contract.hold(plain, named, reply)

    def allowed(self, request: Request) -> Reply | None:
        """What Keycloak answers to a token it does not take."""
        refused = super().allowed(request)
        return Reply(401, {"error": "HTTP 401 Unauthorized"}) if refused else None

    def _furnish(self) -> None:
        listed = {
            "users": "users", "groups": "groups", "roles": "roles", "clients": "clients", "events": "events",
            "admin-events": "admin-events",
        }  # fmt: skip
        whole = {
            "authentication/flows": "flows", "authentication/required-actions": "required-actions",
            "identity-provider/instances": "identity-providers", "components": "components",
        }  # fmt: skip
        self.route("/admin/realms", lambda request: Reply(body=[{"realm": name} for name in self.realms]))
        self.route(DISCOVERY, self._of(self._known))
        self.route(A, self._of(lambda realm, request: Reply(body=realm["settings"])))
        self.route(f"{A}/users/count", self._of(lambda realm, request: Reply(body=len(realm.get("users", [])))))
        for path, name in listed.items():
            self.route(f"{A}/{path}", self._of(lambda realm, asked, name=name: self._part(realm.get(name, []), asked)))
        for path, name in whole.items():
            self.route(f"{A}/{path}", self._of(lambda realm, request, name=name: Reply(body=realm.get(name, []))))
        self._below("users/{id}/credentials", "credentials", "id", [])
        self._below("users/{id}/role-mappings", "role-mappings", "id", {})
        self._below("roles/{roleName}/composites", "composites", "roleName", [])
        self._below("authentication/flows/{flowAlias}/executions", "executions", "flowAlias", [])
        self._below("groups/{id}/members", "members", "id", [], paged=True)
        self._below("groups/{id}/children", "children", "id", [], paged=True)

    def _known(self, _: dict[str, Any], request: Request) -> Reply:
        issuer = f"https://sso.example.org/realms/{unquote(request.query['{realm}'])}"
        return Reply(body={"issuer": issuer, "jwks_uri": f"{issuer}/protocol/openid-connect/certs"})

    def _below(self, path: str, name: str, key: str, nothing: Any, *, paged: bool = False) -> None:
        def answer(realm: dict[str, Any], request: Request) -> Reply:
            found = realm.get(name, {}).get(unquote(request.query[f"{{{key}}}"]), nothing)
            return self._part(found, request) if paged else Reply(body=found)

        self.route(f"{A}/{path}", self._of(answer))

    def _of(self, answer: Any) -> Handler:
        def handler(request: Request) -> Reply:
            realm = self.realms.get(unquote(request.query["{realm}"]))
            found: Reply = answer(realm, request) if realm else Reply(404, {"error": "Realm not found."})
            return found

        return handler

    def _part(self, rows: list[dict[str, Any]], request: Request) -> Reply:
        first, most = int(request.query["first"]), int(request.query["max"])
        return Reply(body=rows[first : first + min(most, self.size)])
