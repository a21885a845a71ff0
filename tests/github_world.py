"""A GitHub organisation on loopback: cut-down replies from a file, made whole by the vendor's own description."""

from __future__ import annotations

import json
import re
import tempfile
from datetime import UTC, datetime, timedelta
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
from tests.http_world import SPECS, Contract, HttpWorld, Reply, Request
from tests.sample import Schemas
from tests.worlds import MemoryLedger

HERE = Path(__file__).parent / "checks" / "github"
ORG = "example-org"

WRAPPED = {
    "/orgs/{org}/installations": "installations",
    "/repos/{owner}/{repo}/environments": "environments",
    "/repos/{owner}/{repo}/commits/{ref}/check-runs": "check_runs",
}
"""Lists that stand under a name, beside their count."""
LISTS = (
    "/user/orgs", "/orgs/{org}/members", "/orgs/{org}/outside_collaborators", "/orgs/{org}/audit-log",
    "/orgs/{org}/repos", "/orgs/{org}/teams", "/orgs/{org}/teams/{team_slug}/members",
    "/orgs/{org}/teams/{team_slug}/repos", "/orgs/{org}/hooks", "/orgs/{org}/credential-authorizations",
    "/orgs/{org}/personal-access-tokens", "/repos/{owner}/{repo}/rules/branches/{branch}",
    "/repos/{owner}/{repo}/collaborators", "/repos/{owner}/{repo}/hooks", "/repos/{owner}/{repo}/keys",
    "/repos/{owner}/{repo}/dependabot/alerts", "/repos/{owner}/{repo}/code-scanning/alerts",
    "/repos/{owner}/{repo}/secret-scanning/alerts", "/repos/{owner}/{repo}/commits",
    "/repos/{owner}/{repo}/commits/{commit_sha}/pulls", "/repos/{owner}/{repo}/pulls",
    "/repos/{owner}/{repo}/pulls/{pull_number}/reviews", "/repos/{owner}/{repo}/deployments",
    "/repos/{owner}/{repo}/deployments/{deployment_id}/statuses", *WRAPPED,
)  # fmt: skip
SINGLE = (
    "/user", "/orgs/{org}", "/orgs/{org}/actions/permissions", "/orgs/{org}/actions/permissions/workflow",
    "/repos/{owner}/{repo}/codeowners/errors", "/repos/{owner}/{repo}/branches/{branch}",
    "/repos/{owner}/{repo}/branches/{branch}/protection", "/repos/{owner}/{repo}/rulesets/{ruleset_id}",
    "/repos/{owner}/{repo}/commits/{ref}/status",
)  # fmt: skip
CURSORS = ("/repos/{owner}/{repo}/dependabot/alerts", "/orgs/{org}/audit-log")
"""Lists whose pages have no number."""


def dated(value: Any, now: datetime) -> Any:
    """``@3`` is three days ago, ``@-3`` in three days; ``@@3`` the same in milliseconds, ``@d3`` the day alone."""
    if isinstance(value, dict):
        return {name: dated(item, now) for name, item in value.items()}
    if isinstance(value, list):
        return [dated(item, now) for item in value]
    if isinstance(value, str) and re.fullmatch(r"@[@d]?-?\d+", value):
        moment = now - timedelta(days=int(value.strip("@d")))
        if value.startswith("@d"):
            return moment.strftime("%Y-%m-%d")
        return int(moment.timestamp() * 1000) if value.startswith("@@") else moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    return value


class GitHubContract(Contract):
    """The vendor's description, with the four operations that the part kept for us leaves out."""

    def __init__(self) -> None:
        document = json.loads((SPECS / "github-collector.openapi.json").read_text("utf8"))
        beyond = json.loads((HERE / "beyond.json").read_text("utf8"))
        assert not set(beyond["paths"]) & set(document["paths"]), "described by the vendor: drop it from beyond.json"
        document["paths"] |= beyond["paths"]
        document["components"]["schemas"] |= beyond["schemas"]
        document["servers"] = [{"url": "https://subdomain.okta.com"}]
        _null_among(document)
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(document, file)
            file.flush()
            super().__init__(file.name)


def _null_among(node: Any) -> None:
    """Where the vendor allows null beside an enumeration, null is one of its values."""
    for item in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        _null_among(item)
    if isinstance(node, dict) and node.get("nullable") is True and isinstance(node.get("enum"), list):
        node["enum"] = [*node["enum"], None]


class GitHubWorld(HttpWorld):
    """What GitHub answers: ``held`` by path, with a status other than 200 under ``$status``; lists are empty else."""

    kind = "github"
    _contract: GitHubContract | None = None

    def __init__(self, tmp: Path) -> None:
        super().__init__(tmp)
        self.now = datetime.now(UTC)
        self.held: dict[str, Any] = {}
        self.size = 2
        if SPECS.is_dir() and GitHubWorld._contract is None:
            GitHubWorld._contract = GitHubContract()
        self.contract = GitHubWorld._contract
        self.schemas = Schemas(self.contract.document) if self.contract else None
        if self.contract:
            self.contract.faults, self.contract.held = [], 0
        for template in LISTS:
            self.route(template, partial(self._list, template=template))
        for template in SINGLE:
            self.route(template, partial(self._one, template=template))

    def furnish(self, file: Path) -> None:
        """Put the organisation of a file into the world."""
        self.held = dated(json.loads(file.read_text("utf8")), self.now)

    def allowed(self, request: Request) -> Reply | None:
        return Reply(401, {"message": "Bad credentials", "status": "401"}) if super().allowed(request) else None

    def checked(self, request: Request, template: str, reply: Reply) -> None:
        if self.contract:
            with self._lock:
                self.contract.hold(request, template, reply)

    def connect(self, source: Source, ledger: MemoryLedger, site: Site, limits: Limits, attempts: int) -> Http:
        task = Task(source.id, self.kind, ORG if source.per == "account" else "")
        retry = Retry(attempts=attempts, base_s=0.001, cap_s=0.01)
        wire = LiveWire(task, ledger, source.redactions)
        wire.permissions = frozenset(source.permissions)
        return Http(wire, site, retry=retry, limits=limits, pool=self._pool)

    def _one(self, request: Request, template: str) -> Reply:
        found = self.held.get(request.path)
        if found is None:
            said = "Branch not protected" if template.endswith("/protection") else "Not Found"
            return Reply(404, {"message": said, "documentation_url": "https://docs.github.com/rest", "status": "404"})
        return self._refused(found) or Reply(body=self._whole(template, found))

    def _list(self, request: Request, template: str) -> Reply:
        found = self.held.get(request.path, [])
        if refused := self._refused(found):
            return refused
        kept = [item for item in found if self._wanted(item, request)]
        cursor = "after" if template in CURSORS else "page"
        number = int(request.query.get(cursor, 1))
        shown = kept[(number - 1) * self.size :][: self.size]
        page = [{name: value for name, value in item.items() if name != "$only"} for item in shown]
        body: Any = page
        if name := WRAPPED.get(template):
            body = {"total_count": len(kept), name: page}
        links: tuple[str, ...] = ()
        if number * self.size < len(kept):
            query = {name: value for name, value in request.query.items() if not name.startswith("{")}
            links = (f'<{self.origin}{request.path}?{urlencode({**query, cursor: number + 1})}>; rel="next"',)
        return Reply(body=self._whole(template, body), links=links)

    @staticmethod
    def _wanted(item: dict[str, Any], request: Request) -> bool:
        """``$only`` says for which values of a parameter a record is listed."""
        if "phrase" in request.query:
            return request.query["phrase"].startswith(f"action:{item['action']} ")
        return all(request.query.get(name, "") in values for name, values in item.get("$only", {}).items())

    @staticmethod
    def _refused(found: Any) -> Reply | None:
        if isinstance(found, dict) and "$status" in found:
            return Reply(found["$status"], {name: value for name, value in found.items() if name != "$status"})
        return None

    def _whole(self, template: str, cut: Any) -> Any:
        return self.schemas.whole(self.schemas.body(template), cut, named=True, where=template) if self.schemas else cut
