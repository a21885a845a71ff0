"""A Microsoft Entra tenant behind Graph: lists that a test fills; each reply is held against the description."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.http_world import SPECS, Contract, HttpWorld, Reply, Request

V = "/v1.0"
REVIEWS = "/identityGovernance/accessReviews/definitions"

TOGETHER = "/tenantRelationships/multiTenantOrganization"

BELOW_REVIEWS = (f"{REVIEWS}/{{id}}/instances", f"{REVIEWS}/{{id}}/instances/{{round}}/decisions")

BEYOND = (f"{TOGETHER}/tenants", TOGETHER, *BELOW_REVIEWS)
"""Asked for as Microsoft documents it, though the description that is at hand leaves them out."""

LISTS = (
    "/users", "/groups", "/applications", "/servicePrincipals", "/oauth2PermissionGrants", "/organization", "/domains",
    "/subscribedSkus", "/auditLogs/signIns", "/auditLogs/directoryAudits",
    "/reports/authenticationMethods/userRegistrationDetails", "/identity/conditionalAccess/policies",
    "/identity/conditionalAccess/namedLocations", "/roleManagement/directory/roleAssignments",
    "/roleManagement/directory/roleAssignmentScheduleInstances",
    "/roleManagement/directory/roleEligibilityScheduleInstances", "/identityProtection/riskyUsers",
    "/deviceManagement/managedDevices", REVIEWS, f"{TOGETHER}/tenants",
)  # fmt: skip
SINGLES = (
    "/policies/authenticationMethodsPolicy", "/policies/authorizationPolicy", "/policies/adminConsentRequestPolicy",
    "/policies/identitySecurityDefaultsEnforcementPolicy", TOGETHER,
)  # fmt: skip
PARTS = ("/groups/{id}/members", "/servicePrincipals/{id}/appRoleAssignments", *BELOW_REVIEWS)


def _nullable(node: Any) -> Any:
    """The description with ``nullable`` beside ``allOf`` spelt so that null is allowed, as Graph answers it."""
    if isinstance(node, list):
        return [_nullable(item) for item in node]
    if not isinstance(node, dict):
        return node
    found = {name: _nullable(value) for name, value in node.items()}
    if found.get("nullable") is True and isinstance(found.get("allOf"), list):
        whole = {"allOf": found.pop("allOf")}
        found["anyOf"] = [whole, {"nullable": True, "enum": [None]}]
    return found


class GraphContract(Contract):
    """Microsoft's description, whose paths stand behind ``/v1.0``."""

    def __init__(self, file: str) -> None:
        from openapi_core import Config, OpenAPI

        self.document = json.loads((SPECS / file).read_text("utf8"))
        self._api = OpenAPI.from_dict(_nullable(self.document), config=Config(spec_validator_cls=None))
        self.held = 0
        self.faults: list[str] = []

    def hold(self, request: Request, template: str, reply: Reply) -> None:
        """Note what of a request or its reply is not in the description."""
        from openapi_core.datatypes import RequestParameters
        from openapi_core.exceptions import OpenAPIError

        template = template.removeprefix(V)
        operation = self.document["paths"].get(template, {}).get("get")
        if operation is None:
            if template not in BEYOND:
                self.faults.append(f"{template} is not in the description")
            return
        known = {one["name"]: one for one in map(self._one, operation.get("parameters", []))}
        for name, value in request.query.items():
            if name not in known:
                self.faults.append(f"{template} has no parameter {name}")
                continue
            allowed = known[name].get("schema", {}).get("items", {}).get("enum")
            words = [re.sub(r"\(.*?\)", "", word) for word in re.split(r",(?![^(]*\))", value)] if allowed else []
            self.faults += [f"{template}: {name} knows no {word}" for word in words if word not in allowed]
        if "consistencylevel" in request.headers and "ConsistencyLevel" not in known:
            self.faults.append(f"{template} knows no ConsistencyLevel")
        if reply.status != 200:
            return
        try:
            self._api.validate_response(_Asked(request, RequestParameters()), _Replied(reply))
            self.held += 1
        except OpenAPIError as error:
            causes = getattr(error.__cause__, "schema_errors", ())
            self.faults.append(f"{template}: {error}: {[item.message[:300] for item in causes]}")

    def _one(self, parameter: dict[str, Any]) -> dict[str, Any]:
        name = parameter.get("$ref", "").rpartition("/")[2]
        found: dict[str, Any] = self.document["components"]["parameters"][name] if name else parameter
        return found


class _Asked:
    def __init__(self, request: Request, parameters: Any) -> None:
        self.host_url = "https://graph.microsoft.com"
        self.path = request.path
        self.method = "get"
        self.content_type = ""
        self.body = None
        self.parameters = parameters


class _Replied:
    def __init__(self, reply: Reply) -> None:
        self.status_code = reply.status
        self.content_type = "application/json"
        self.headers: dict[str, str] = {}
        self.data = json.dumps(reply.body).encode()


def refusal(status: int, code: str) -> Reply:
    """An error as Graph words it."""
    return Reply(status, {"error": {"code": code, "message": "As Graph words it.", "innerError": {"date": "2026"}}})


class EntraWorld(HttpWorld):
    """A tenant; pages hold two records, whatever ``$top`` allows."""

    kind = "entra"
    _contract: Contract | None = None

    def __init__(self, tmp: Path) -> None:
        super().__init__(tmp)
        self.lists: dict[str, list[dict[str, Any]]] = {path: [] for path in LISTS}
        self.singles: dict[str, dict[str, Any]] = {}
        self.parts: dict[str, list[dict[str, Any]]] = {}
        """Lists below an entity, by their path."""
        self.hidden = 0
        """Users the index counts, and the list leaves out."""
        if SPECS.is_dir() and EntraWorld._contract is None:
            EntraWorld._contract = GraphContract("graph-collector.openapi.json")
        self.contract = EntraWorld._contract
        if self.contract:
            self.contract.faults, self.contract.held = [], 0
        for path in LISTS:
            self.route(V + path, lambda request, path=path: self._page(request, self._chosen(path, request)))
        for path in SINGLES:
            self.route(V + path, lambda request, path=path: Reply(body=self.singles[path]))
        for path in PARTS:
            self.route(V + path, self._part)

    def allowed(self, request: Request) -> Reply | None:
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return refusal(401, "InvalidAuthenticationToken")
        return None

    def checked(self, request: Request, template: str, reply: Reply) -> None:
        if self.contract:
            with self._lock:
                self.contract.hold(request, template, reply)

    def _part(self, request: Request) -> Reply:
        return self._page(request, self.parts.get(request.path.removeprefix(V), []))

    def _chosen(self, path: str, request: Request) -> list[dict[str, Any]]:
        wanted = re.findall(r"(category|clientAppUsed) eq '([^']*)'", request.query.get("$filter", ""))
        return [row for row in self.lists[path] if all(row[name] == value for name, value in wanted)]

    def _page(self, request: Request, found: list[dict[str, Any]]) -> Reply:
        query = {name: value for name, value in request.query.items() if not name.startswith("{")}
        body: dict[str, Any] = {"@odata.context": f"{self.origin}{V}/$metadata"}
        if query.get("$count") == "true":
            if request.headers.get("consistencylevel") != "eventual":
                return refusal(400, "Request_UnsupportedQuery")
            body["@odata.count"] = len(found) + self.hidden
        size = min(2, int(query.get("$top", 100)))
        start = int(query.get("$skiptoken", 0))
        fields = query.get("$select", "").split(",") if "$select" in query else []
        expanded = query.get("$expand", "").partition("(")[0]
        body["value"] = [
            {
                name: value
                for name, value in row.items()
                if (not fields or name in fields or name.startswith("@") or name == expanded)
                and (expanded or name != "owners")
            }
            for row in found[start : start + size]
        ]
        if start + size < len(found):
            more = urlencode({**query, "$skiptoken": start + size})
            body["@odata.nextLink"] = f"{self.origin}{request.path}?{more}"
        return Reply(body=body)
