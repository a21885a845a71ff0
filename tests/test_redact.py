"""Declared secrets are taken out exactly, and nothing else changes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.api import Redaction
from collector.connect import redact
from collector.model import Unavailable

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=20,
)


def scalars(value: Any, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict):
        return [found for name, item in value.items() for found in scalars(item, (*path, name))]
    if isinstance(value, list):
        return [found for item in value for found in scalars(item, (*path, "[]"))]
    return [(path, value)]


@given(JSON, st.booleans(), st.sampled_from([None, 2]))
def test_every_scalar_is_found_where_it_stands(document: Any, ascii_only: bool, indent: int | None) -> None:
    body = json.dumps(document, ensure_ascii=ascii_only, indent=indent).encode()
    found = list(redact.json_scalars(body))
    wanted = scalars(document)
    assert [json.loads(body[span.start : span.end]) for span in found] == [value for _, value in wanted]
    if not ascii_only:
        plain = [path for path, _ in wanted if all(json.dumps(part, ensure_ascii=False)[1:-1] == part for part in path)]
        assert [span.path for span in found if span.path in plain] == plain


def test_a_json_path_masks_values_and_keeps_names() -> None:
    rule = Redaction("lambda:List*", "may hold secrets", json="Functions[].Environment.Variables.*")
    body = b'{"Functions":[ {"Name":"a","Environment":{"Variables":{"P":"x\\"y","N":7}}},{"Name":"b"}]}'
    masked, applied = redact.apply([rule], "lambda:ListFunctions", body)
    assert (
        masked
        == b'{"Functions":[ {"Name":"a","Environment":{"Variables":{"P":"REDACTED","N":"REDACTED"}}},{"Name":"b"}]}'
    )
    assert applied == [{"path": rule.json, "reason": "may hold secrets", "count": 2}]


def test_other_operations_and_bodies_without_secrets_are_left_alone() -> None:
    rule = Redaction("lambda:List*", "may hold secrets", json="A")
    assert redact.apply([rule], "lambda:GetPolicy", b"anything") == (b"anything", [])
    assert redact.apply([rule], "lambda:ListFunctions", b'{"B":1}') == (b'{"B":1}', [])


def test_a_pattern_masks_its_group() -> None:
    rule = Redaction("host:read", "password hashes", regex=r"^[^:\n]+:(?P<secret>\$[^:\n]+):")
    body = b"root:$6$salt$hash:19000:0\ndaemon:*:19000:0\n"
    assert redact.apply([rule], "host:read", body)[0] == b"root:REDACTED:19000:0\ndaemon:*:19000:0\n"


def test_what_is_not_json_cannot_be_searched() -> None:
    with pytest.raises(Unavailable, match="not JSON"):
        redact.apply([Redaction("*", "r", json="A")], "x:Y", b"<xml/>")


@given(st.binary(max_size=200))
def test_hostile_bytes_never_crash_the_scanner(body: bytes) -> None:
    for span in redact.json_scalars(body):
        assert 0 <= span.start < span.end <= len(body)
