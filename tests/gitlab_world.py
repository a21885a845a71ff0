"""A GitLab group on loopback: replies from a file, in the shape of the vendor's published reference.

There is no description of the API to hold them against; the pages come with ``Link`` headers and without counts.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from collector.api import Source
from collector.connect.base import Limits
from collector.connect.http import Http, Site
from collector.connect.retry import Retry
from collector.connect.wire import LiveWire
from collector.model import Task
from tests.github_world import dated
from tests.http_world import HttpWorld, Reply, Request
from tests.worlds import MemoryLedger

GROUP = "example"
_GROUP, _PROJECT = "/api/v4/groups/{id}", "/api/v4/projects/{id}"
_MERGE = f"{_PROJECT}/merge_requests/{{iid}}"

LISTS = (
    "/api/v4/groups", *(f"{_GROUP}/{what}" for what in (
        "members/all", "billable_members", "projects", "audit_events", "access_tokens", "deploy_tokens", "variables",
        "hooks", "descendant_groups",
    )),
    *(f"{_PROJECT}/{what}" for what in (
        "protected_branches", "approval_rules", "environments", "protected_environments", "deployments",
        "deployments/{deployment}/merge_requests", "repository/commits/{sha}/merge_requests", "merge_requests",
        "merge_requests/{iid}/pipelines", "audit_events", "vulnerabilities", "access_tokens", "deploy_tokens",
        "deploy_keys", "variables", "hooks",
    )),
)  # fmt: skip
SINGLE = ("/api/v4/user", _GROUP, f"{_PROJECT}/approvals", f"{_PROJECT}/push_rule", f"{_MERGE}/approvals")

TAKEN = {
    "/api/v4/groups": {"top_level_only", "min_access_level", "order_by", "sort"},
    _GROUP: {"with_projects"},
    f"{_GROUP}/descendant_groups": {"order_by", "sort"},
    f"{_GROUP}/projects": {"include_subgroups", "with_shared", "order_by", "sort"},
    f"{_PROJECT}/environments": {"states"},
    f"{_PROJECT}/deployments": {"status", "updated_after", "updated_before", "order_by", "sort"},
    f"{_PROJECT}/merge_requests": {"state", "target_branch", "updated_after", "order_by", "sort"},
    f"{_GROUP}/audit_events": {"created_after", "created_before", "pagination", "cursor"},
    f"{_PROJECT}/audit_events": {"created_after", "created_before", "pagination", "cursor"},
}
"""Parameters the reference knows, beside those of a page."""


class GitLabWorld(HttpWorld):
    """What GitLab answers: ``held`` by path, with a status other than 200 under ``$status``; lists are empty else."""

    kind = "gitlab"
    contract = None

    def __init__(self, tmp: Path) -> None:
        super().__init__(tmp)
        self.now = datetime.now(UTC)
        self.held: dict[str, Any] = {}
        self.size = 2
        self.strange: list[str] = []
        """Parameters that the reference does not know."""
        for template in LISTS:
            self.route(template, partial(self._list, template=template))
        for template in SINGLE:
            self.route(template, self._one)

    def furnish(self, file: Path) -> None:
        """Put the group of a file into the world."""
        self.held = dated(json.loads(file.read_text("utf8")), self.now)

    def allowed(self, request: Request) -> Reply | None:
        return Reply(401, {"message": "401 Unauthorized"}) if super().allowed(request) else None

    def checked(self, request: Request, template: str, reply: Reply) -> None:
        pages = {"page", "per_page"} if template in LISTS else set()
        self.strange += [f"{template} {name}" for name in set(request.query) - TAKEN.get(template, set()) - pages]

    def connect(self, source: Source, ledger: MemoryLedger, site: Site, limits: Limits, attempts: int) -> Http:
        task = Task(source.id, self.kind, GROUP if source.per == "account" else "")
        retry = Retry(attempts=attempts, base_s=0.001, cap_s=0.01)
        wire = LiveWire(task, ledger, source.redactions)
        wire.permissions = frozenset(source.permissions)
        return Http(wire, site, retry=retry, limits=limits, pool=self._pool)

    def _one(self, request: Request) -> Reply:
        if request.path not in self.held:
            return Reply(404, {"message": "404 Not found"})
        found = self.held[request.path]
        return self._refused(found) or Reply(body=b"null" if found is None else found)

    def _list(self, request: Request, template: str) -> Reply:
        found = self.held.get(request.path, [])
        if refused := self._refused(found):
            return refused
        kept = [item for item in found if self._wanted(item, request)]
        turn = "cursor" if request.query.get("pagination") == "keyset" else "page"
        number = int(request.query.get(turn, 1))
        links: tuple[str, ...] = ()
        if number * self.size < len(kept):
            query = {name: value for name, value in request.query.items() if not name.startswith("{")}
            links = (f'<{self.origin}{request.path}?{urlencode({**query, turn: number + 1})}>; rel="next"',)
        return Reply(body=kept[(number - 1) * self.size :][: self.size], links=links)

    @staticmethod
    def _wanted(item: dict[str, Any], request: Request) -> bool:
        """The filters that the sources name."""
        wanted = {"status": "status", "target_branch": "target_branch", "state": "state", "states": "state"}
        same = all(item[own] == request.query[name] for name, own in wanted.items() if name in request.query)
        return same and item.get("updated_at", "9") >= request.query.get("updated_after", "")

    @staticmethod
    def _refused(found: Any) -> Reply | None:
        if isinstance(found, dict) and "$status" in found:
            return Reply(found["$status"], {name: value for name, value in found.items() if name != "$status"})
        return None
