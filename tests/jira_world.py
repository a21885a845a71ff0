"""A Jira site: saved filters and tickets, handed out as the cloud's REST API version 3 does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from collector.connect.credential import Credential, basic
from collector.secrets import Secret
from tests.http_world import HttpWorld, Reply, Request, basic_of

USER = "auditor@example.org"


class JiraWorld(HttpWorld):
    """Tickets by kind; the changelog of a ticket is cut to ``embedded`` entries where it is embedded."""

    kind = "jira"

    def __init__(self, tmp: Path) -> None:
        super().__init__(tmp)
        self.me: dict[str, Any] = {}
        self.filters: list[dict[str, Any]] = []
        self.tickets: dict[str, list[dict[str, Any]]] = {}
        self.embedded = 3
        self.size = 2
        self.route("/rest/api/3/myself", lambda request: Reply(body=self.me))
        self.route("/rest/api/3/filter/search", self._filters)
        self.route("/rest/api/3/search/jql", self._search)
        self.route("/rest/api/3/issue/{issueIdOrKey}/changelog", self._changelog)

    def credential(self) -> Credential:
        return basic(USER, "env:JIRA_TOKEN", Secret(self.token))

    def allowed(self, request: Request) -> Reply | None:
        if (
            request.headers.get("authorization", "").startswith("Basic ")
            and basic_of(request) == f"{USER}:{self.token}"
        ):
            return None
        return Reply(401, {"errorMessages": ["Client must be authenticated to access this resource."], "errors": {}})

    def add(self, kind: str, ticket: dict[str, Any]) -> None:
        """A ticket of the filter ``affidavit KIND``; the filter is made with the first one."""
        name = f"affidavit {kind}"
        if not any(one["name"] == name for one in self.filters):
            self.filters.append({
                "id": str(10000 + len(self.filters)), "name": name, "jql": f"project = {kind[:3].upper()}",
                "owner": {"accountId": "acc-admin", "displayName": "Ada Admin", "active": True},
            })  # fmt: skip
        self.tickets.setdefault(kind, []).append(ticket)

    def _page(self, request: Request, found: list[Any], name: str) -> Reply:
        start, size = int(request.query.get("startAt", 0)), min(int(request.query.get("maxResults", 50)), self.size)
        page = found[start : start + size]
        last = start + len(page) >= len(found)
        return Reply(body={"startAt": start, "maxResults": size, "total": len(found), "isLast": last, name: page})

    def _filters(self, request: Request) -> Reply:
        wanted = request.query["filterName"].lower()
        shown = request.query.get("expand", "").split(",")
        found = [
            {name: value for name, value in one.items() if name in ("id", "name") or name in shown}
            for one in self.filters
            if wanted in str(one["name"]).lower()
        ]
        return self._page(request, found, "values")

    def _search(self, request: Request) -> Reply:
        asked = re.match(
            r"filter = (\d+) AND \(updated >= -366d OR statusCategory != Done\) ORDER BY", request.query["jql"]
        )
        if asked is None:
            return Reply(400, {"errorMessages": ["the JQL cannot be parsed"], "errors": {}})
        kind = next(one["name"] for one in self.filters if one["id"] == asked[1]).removeprefix("affidavit ")
        found = self.tickets.get(kind, [])
        start = int(request.query.get("nextPageToken", "t0")[1:])
        fields = request.query["fields"].split(",")
        body: dict[str, Any] = {"issues": [], "isLast": start + self.size >= len(found)}
        for ticket in found[start : start + self.size]:
            log = ticket["histories"]
            body["issues"].append({
                "id": ticket["id"], "key": ticket["key"],
                "expand": "changelog", "self": f"{self.origin}/{ticket['id']}",
                "fields": {name: ticket["fields"].get(name) for name in fields},
                "changelog": {
                    "startAt": 0, "maxResults": self.embedded, "total": len(log), "histories": log[: self.embedded],
                },
            })  # fmt: skip
        if not body["isLast"]:
            body["nextPageToken"] = f"t{start + self.size}"
        return Reply(body=body)

    def _changelog(self, request: Request) -> Reply:
        found = {ticket["id"]: ticket for held in self.tickets.values() for ticket in held}
        ticket = found.get(request.query["{issueIdOrKey}"])
        if ticket is None:
            return Reply(404, {"errorMessages": ["Issue does not exist or you do not have permission to see it."]})
        return self._page(request, ticket["histories"], "values")
