"""Google Workspace on loopback: lists that a test fills; each reply is held against Google's own description."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tests.http_world import SPECS, Contract, HttpWorld, Reply, Request

D = "/admin/directory/v1"
C = f"{D}/customer/{{customer}}"
I = f"{D}/customer/{{customerId}}"  # noqa: E741
ACTIVITIES = "/admin/reports/v1/activity/users/{userKey}/applications/{applicationName}"


def refusal(status: int, reason: str, **headers: str) -> Reply:
    """An error as Google spells it."""
    body = {"error": {"code": status, "message": "no", "errors": [{"domain": "global", "reason": reason}]}}
    return Reply(status, body, headers)


class GoogleWorld(HttpWorld):
    """A customer with lists by name; an empty list is left out of the body, and ``fields`` is heeded."""

    kind = "google-workspace"
    _contract: Contract | None = None

    def __init__(self, tmp: Path) -> None:
        super().__init__(tmp)
        self.lists: dict[str, list[dict[str, Any]]] = {}
        """By the name of the list in the body, or ``roles``, ``roleassignments``, ``admin``, ``login``."""
        self.below: dict[str, dict[str, list[dict[str, Any]]]] = {"members": {}, "tokens": {}, "asps": {}}
        if SPECS.is_dir() and GoogleWorld._contract is None:
            host = "https://www.googleapis.com"
            GoogleWorld._contract = Contract("google-workspace-collector.openapi.json", host)
        self.contract = GoogleWorld._contract
        if self.contract:
            self.contract.faults, self.contract.held = [], 0
        self._furnish()

    def fill(self, file: Path) -> None:
        """Put the lists of a file into the world."""
        held = json.loads(file.read_text("utf8"))
        self.lists.update(held["lists"])
        self.below.update(held["below"])

    def checked(self, request: Request, template: str, reply: Reply) -> None:
        query = {name: value for name, value in request.query.items() if not name.startswith("{")}
        if self.contract:
            with self._lock:
                plain = Request(request.method, request.path, query, request.headers, request.body)
                self.contract.hold(plain, template, reply)

    def allowed(self, request: Request) -> Reply | None:
        """What Google answers to a token it does not take."""
        return refusal(401, "authError") if super().allowed(request) else None

    def _furnish(self) -> None:
        for path, rows, name in (
            (f"{D}/users", "users", "users"),
            (f"{D}/groups", "groups", "groups"),
            (f"{C}/roles", "items", "roles"),
            (f"{C}/roleassignments", "items", "roleassignments"),
            (f"{I}/devices/mobile", "mobiledevices", "mobiledevices"),
            (f"{I}/devices/chromeos", "chromeosdevices", "chromeosdevices"),
            ("/v1/policies", "policies", "policies"),
        ):
            self.route(path, lambda request, rows=rows, name=name: self._page(request, rows, self.lists.get(name, [])))
        for path, name in ((f"{C}/domains", "domains"), (f"{I}/orgunits", "organizationUnits")):
            self.route(path, lambda request, name=name: self._page(request, name, self.lists.get(name, []), 1000))
        for path, key, rows, name in (
            (f"{D}/groups/{{groupKey}}/members", "groupKey", "members", "members"),
            (f"{D}/users/{{userKey}}/tokens", "userKey", "items", "tokens"),
            (f"{D}/users/{{userKey}}/asps", "userKey", "items", "asps"),
        ):
            size = 2 if name == "members" else 1000
            self.route(
                path,
                lambda request, key=key, rows=rows, name=name, size=size: self._page(
                    request, rows, self.below[name].get(request.query[f"{{{key}}}"], []), size
                ),
            )
        self.route(ACTIVITIES, self._activities)

    def _activities(self, request: Request) -> Reply:
        wanted = request.query.get("eventName")
        found = [
            activity
            for activity in self.lists.get(request.query["{applicationName}"], [])
            if not wanted or any(event["name"] == wanted for event in activity["events"])
        ]
        return self._page(request, "items", found)

    @staticmethod
    def _page(request: Request, rows: str, held: list[dict[str, Any]], size: int = 2) -> Reply:
        start = int(request.query.get("pageToken", 0))
        part = held[start : start + size]
        if mask := re.fullmatch(rf"nextPageToken,{rows}\(([\w,]+)\)", request.query.get("fields", "")):
            names = mask[1].split(",")
            part = [{name: row[name] for name in names if name in row} for row in part]
        body: dict[str, Any] = {rows: part} if part else {}
        if start + size < len(held):
            body["nextPageToken"] = str(start + size)
        return Reply(body=body)
