"""Checks, their examples and their sources speak of the same fields: those the vendor's own API description has."""

from __future__ import annotations

import base64
import functools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import jmespath
import pytest
from botocore.session import Session

from collector import examples, plugins
from collector.model import GAP_KEY

LIBRARY = plugins.load()
EXAMPLES = list(examples.load(Path(__file__).parent / "checks", LIBRARY.checks))
SOURCES = sorted(name for name in LIBRARY.sources if name.startswith("aws."))

DECODED = ("policyDocumentType",)
"""Shapes the SDK turns from a URL-quoted text into a document; what a document holds is its author's choice."""

REPORT = (
    "user,arn,user_creation_time,password_enabled,password_last_used,password_last_changed,password_next_rotation,"
    "mfa_active,access_key_1_active,access_key_1_last_rotated,access_key_1_last_used_date,"
    "access_key_1_last_used_region,access_key_1_last_used_service,access_key_2_active,access_key_2_last_rotated,"
    "access_key_2_last_used_date,access_key_2_last_used_region,access_key_2_last_used_service,cert_1_active,"
    "cert_1_last_rotated,cert_2_active,cert_2_last_rotated"
)
"""Columns of the credential report, as the IAM user guide lists them."""

CONFIG_ITEM = {
    "resourceId": "i-1", "resourceName": "", "resourceType": "AWS::EC2::Instance", "arn": "arn:aws:ec2:::instance/i-1",
    "configurationItemCaptureTime": "2026-01-01T00:00:00.000Z", "configurationItemStatus": "OK",
}  # fmt: skip
"""A line that answers a query of AWS Config, as its developer guide shows them: a text of JSON."""


class Map(dict[str, Any]):
    """An object whose names are data: tags, variables, counts."""


class Open:
    """Stands where anything may stand."""


class Text(str):
    """A string of a reply; an object that a source keys with one has data for names."""

    __slots__ = ()


def _is_map(value: dict[str, Any]) -> bool:
    return isinstance(value, Map) or any(isinstance(name, Text) for name in value)


@functools.cache
def _model(service: str) -> Any:
    return Session().get_service_model(service)


@functools.cache
def _operations(service: str) -> dict[str, str]:
    from botocore import xform_name

    return {xform_name(name): name for name in _model(service).operation_names}


class FullAws:
    """Answers every operation with everything its description allows, and nothing else."""

    region = "eu-central-1"

    def __init__(self, variant: int) -> None:
        self.variant = variant
        self.asked: set[str] = set()

    def _reply(self, service: str, operation: str, params: dict[str, Any]) -> Any:
        name = _operations(service)[operation]
        model = _model(service).operation_model(name)
        unknown = set(params) - set(model.input_shape.members if model.input_shape else ())
        assert not unknown, f"{service}:{name} takes no {unknown}"
        self.asked.add(f"{service}:{name}")
        if name == "GenerateCredentialReport":
            return {"State": "COMPLETE", "Description": "it is ready"}
        if name == "GetCredentialReport":
            users = ("<root_account>", "user")
            lines = (REPORT, *(",".join([user, *["N/A"] * REPORT.count(",")]) for user in users))
            return {
                "Content": base64.b64encode("\n".join(lines).encode()).decode(),
                "ReportFormat": "text/csv",
                "GeneratedTime": "2026-01-01T00:00:00Z",
            }
        if name == "SelectResourceConfig":
            return {"Results": [json.dumps(CONFIG_ITEM)]}
        return self._value(model.output_shape, ())

    def _value(self, shape: Any, above: tuple[str, ...]) -> Any:
        if shape.name in above:
            return Open()
        above = (*above, shape.name)
        if shape.type_name == "structure":
            if shape.is_document_type:
                return Open()
            return {name: self._value(member, above) for name, member in shape.members.items()}
        if shape.type_name == "list":
            return [self._value(shape.member, above)]
        if shape.type_name == "map":
            return Map(key=self._value(shape.value, above))
        if shape.type_name == "string":
            if shape.name in DECODED:
                return {"Statement": [], "Version": "2012-10-17"}
            return Text(shape.enum[self.variant % len(shape.enum)] if shape.enum else "eu-central-1")
        if shape.type_name == "boolean":
            return self.variant % 2 == 0
        if shape.type_name in ("integer", "long"):
            return 1
        if shape.type_name in ("float", "double"):
            return 1.0
        return "2026-01-01T00:00:00Z" if shape.type_name == "timestamp" else "eA=="

    def call(self, service: str, operation: str, *, absent: Any = (), region: str = "", **params: Any) -> Any:
        return self._reply(service, operation, params)

    attempt = call

    def pages(self, service: str, operation: str, *, rows: str, region: str = "", **params: Any) -> Iterator[Any]:
        found = jmespath.search(rows, self._reply(service, operation, params))
        assert isinstance(found, list), f"{service}:{operation} has no list {rows}"
        yield from found

    def attempt_all(
        self, service: str, operation: str, *, rows: str, absent: Any = (), region: str = "", **params: Any
    ) -> Any:
        return list(self.pages(service, operation, rows=rows, region=region, **params))

    def ahead(self, items: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
        yield from items

    def pause(self, wanted_s: float) -> None:
        pass


@functools.cache
def _rows(dataset: str) -> tuple[Any, ...]:
    """What a source can yield at most, in several variants of enumerations and flags."""
    source = LIBRARY.sources[dataset]
    return tuple(row for variant in range(4) for row in source(FullAws(variant)))


def _differences(example: Any, possible: list[Any], where: str) -> Iterator[str]:
    """Where an example holds what no reply can hold."""
    if example is None or any(isinstance(one, Open) for one in possible):
        return
    if isinstance(example, dict):
        if set(example) == {GAP_KEY}:
            return
        objects = [one for one in possible if isinstance(one, dict)]
        if not objects:
            yield f"{where} is an object, a reply has {type(possible[0]).__name__}"
            return
        for name, value in example.items():
            held = [
                item
                for one in objects
                for item in (one.values() if _is_map(one) else [one[name]] if name in one else [])
            ]
            if "Statement" in objects[0] and "Version" in objects[0]:
                continue
            if not held:
                if not all(_is_map(one) for one in objects):
                    yield f"{where}.{name} is in no reply"
                continue
            yield from _differences(value, held, f"{where}.{name}")
    elif isinstance(example, list):
        held = [item for one in possible if isinstance(one, list) for item in one]
        if not any(isinstance(one, list) for one in possible):
            yield f"{where} is a list, a reply has {type(possible[0]).__name__}"
        elif held:
            for item in example:
                yield from _differences(item, held, f"{where}[]")
    elif not any(_same_kind(example, one) for one in possible if one is not None):
        kinds = sorted({type(one).__name__ for one in possible})
        yield f"{where} is {type(example).__name__}, a reply has {', '.join(kinds)}"


def _same_kind(example: Any, reply: Any) -> bool:
    if isinstance(example, bool) or isinstance(reply, bool):
        return isinstance(example, bool) and isinstance(reply, bool)
    if isinstance(example, str):
        return isinstance(reply, str)
    return isinstance(example, int | float) and isinstance(reply, int | float)


@pytest.mark.parametrize("dataset", SOURCES)
def test_a_source_asks_what_the_api_has_and_yields_its_key(dataset: str) -> None:
    rows = _rows(dataset)
    assert rows, f"{dataset} yields nothing of a full reply"
    key = LIBRARY.sources[dataset].key
    assert any(isinstance(row.get(key), str | int) for row in rows), f"{dataset} yields no {key}"


@pytest.mark.parametrize("dataset", SOURCES)
def test_p8_the_examples_of_a_check_come_from_what_its_source_yields(dataset: str) -> None:
    problems = []
    used = 0
    for example in EXAMPLES:
        check = LIBRARY.checks[example.check]
        for number, (name, rows) in enumerate(zip(check.datasets, example.rows, strict=True)):
            if name == dataset:
                for row in [rows] if check.each and not number else rows:
                    used += 1
                    problems += [f"{example.check}: {p}" for p in _differences(row, list(_rows(dataset)), dataset)]
    assert not problems, "\n".join(sorted(set(problems)))
    assert used or dataset == "aws.sts.caller-identity"


def test_p8_a_drifted_example_is_noticed() -> None:
    rows = list(_rows("aws.logs.groups"))
    assert not list(_differences({"logGroupName": "/a", "retentionInDays": 400}, rows, "row"))
    drifted = {"LogGroupName": "/a", "retentionInDays": "400", "tags": [{"k": 1}]}
    assert sorted(_differences(drifted, rows, "row")) == [
        "row.LogGroupName is in no reply", "row.retentionInDays is str, a reply has int", "row.tags is in no reply",
    ]  # fmt: skip
    assert not list(_differences({"logGroupName": {GAP_KEY: {}}}, rows, "row"))
    assert list(_differences({"Name": 1}, list(_rows("aws.s3.buckets")), "row"))
