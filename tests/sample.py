"""Whole replies made from cut-down ones: what a vendor's description requires and a test did not name is filled in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Schemas:
    """The schemas of an OpenAPI 3.0 document."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document

    def body(self, template: str) -> Mapping[str, Any]:
        """The schema of what GET answers with status 200."""
        content = self._document["paths"][template]["get"]["responses"]["200"]["content"]
        schema: Mapping[str, Any] = content["application/json"]["schema"]
        return schema

    def whole(self, schema: Mapping[str, Any], cut: Any = None, *, named: bool = False, where: str = "") -> Any:
        """``cut`` with everything the schema requires; ``named``: it was given, so that it may not be replaced.

        Raises:
            LookupError: it has a member that the schema does not know.
        """
        schema = self._resolved(schema)
        if named and not isinstance(cut, dict | list):
            return cut
        for word in ("oneOf", "anyOf"):
            if word in schema and "properties" not in schema:
                option = next((one for one in schema[word] if self._fits(one, cut)), None)
                if option is None:
                    raise LookupError(f"{where}: no alternative has {cut}")
                return self.whole(option, cut, named=named, where=where)
        properties = self.properties(schema)
        if properties or schema.get("type") == "object" or "allOf" in schema:
            return self._object(schema, properties, cut or {}, where)
        if schema.get("type") == "array":
            return [self.whole(schema.get("items", {}), item, named=True, where=f"{where}[]") for item in cut or ()]
        return cut if named else _scalar(schema)

    def _object(self, schema: Mapping[str, Any], properties: Mapping[str, Any], cut: dict[str, Any], where: str) -> Any:
        if unknown := sorted(set(cut) - set(properties)) if properties else []:
            raise LookupError(f"{where} has no {', '.join(unknown)}")
        whole = dict(cut) if not properties else {}
        for name in [*self._required(schema), *cut]:
            if name in properties and name not in whole:
                given = name in cut
                whole[name] = self.whole(properties[name], cut.get(name), named=given, where=f"{where}.{name}")
        return whole

    def properties(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        """Every member an object may have."""
        schema = self._resolved(schema)
        found = dict(schema.get("properties", {}))
        for part in schema.get("allOf", ()):
            found |= self.properties(part)
        return found

    def _required(self, schema: Mapping[str, Any]) -> list[str]:
        schema = self._resolved(schema)
        found = list(schema.get("required", ()))
        for part in schema.get("allOf", ()):
            found += self._required(part)
        return found

    def _fits(self, schema: Mapping[str, Any], cut: Any) -> bool:
        schema = self._resolved(schema)
        if "oneOf" in schema or "anyOf" in schema:
            return any(self._fits(one, cut) for one in (*schema.get("oneOf", ()), *schema.get("anyOf", ())))
        if isinstance(cut, dict):
            properties = self.properties(schema)
            if not properties:
                return schema.get("type") == "object"
            kinds = {name: self._resolved(part).get("enum") for name, part in properties.items()}
            return set(cut) <= set(properties) and all(
                value in (kinds[name] or (value,)) for name, value in cut.items() if not isinstance(value, dict)
            )
        kind = {str: "string", list: "array", bool: "boolean", int: "integer"}.get(type(cut))
        return cut is None or schema.get("type") in (kind, "number" if kind == "integer" else kind)

    def _resolved(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        while "$ref" in schema:
            schema = self._document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        return schema


def _scalar(schema: Mapping[str, Any]) -> Any:
    if schema.get("nullable"):
        return None
    if "enum" in schema:
        return schema["enum"][0]
    formats = {"date-time": "2026-01-01T00:00:00Z", "date": "2026-01-01", "uri": "https://example.com/x"}
    kinds: dict[str, Any] = {"integer": 1, "number": 1, "boolean": False}
    return kinds.get(schema.get("type", ""), formats.get(schema.get("format", ""), "x"))
