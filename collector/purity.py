"""What a module of checks may reach for: its rows, its connection, and code sealed with it or part of Python.

What else could move a verdict (a file, an environment variable, a clock, a module from elsewhere) stands in no seal, so
nobody could re-perform it. The rule is read off the syntax when a module is loaded. It is no sandbox: who means to get
round it writes so into bytes that are sealed and read by others.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from importlib import import_module
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

WHOLE = (
    "__future__", "abc", "base64", "binascii", "bisect", "collections", "collections.abc", "copy", "csv",
    "dataclasses", "datetime", "decimal", "difflib", "enum", "fractions", "functools", "hashlib", "heapq",
    "hmac", "html", "ipaddress", "itertools", "json", "math", "numbers", "operator", "re", "statistics",
    "string", "struct", "textwrap", "typing", "unicodedata", "urllib.parse", "zlib",
    "collector.api", "collector.directory", "collector.iam_policy", "collector.identity_providers",
    "collector.model", "collector.registers.facts", "collector.registers.matching", "collector.terminology",
    "collector.workloads",
)  # fmt: skip
"""Modules that may be imported, and everything taken that they define."""

ALLOWED: Mapping[str, str] = {
    **dict.fromkeys(WHOLE, ""),
    "calendar": "isleap monthrange timegm",
    "contextlib": "closing contextmanager nullcontext suppress",
    "email.utils": "getaddresses parseaddr parsedate parsedate_to_datetime",
    "fnmatch": "fnmatchcase translate",
    "io": "BytesIO StringIO",
    "posixpath": "basename commonpath dirname isabs join normpath relpath sep split splitext",
    "shlex": "join quote split",
    "tomllib": "TOMLDecodeError loads",
    "types": "MappingProxyType SimpleNamespace",
    "uuid": "UUID uuid3 uuid5",
    "xml.etree.ElementTree": "Element ParseError XML fromstring tostring",
}
"""Modules that may be imported, each with the names that may be taken from it; empty: all that it defines."""

PARENTS = frozenset(
    ".".join(parts[:length])
    for parts in (name.split(".") for name in ALLOWED)
    for length in range(1, len(parts))
)
"""What such a module stands in; an import binds it, and only the module may be reached through it."""

BARRED = frozenset({
    "operator.attrgetter", "operator.methodcaller", "statistics.NormalDist", "string.Formatter",
    "typing.ForwardRef", "typing.get_type_hints",
})  # fmt: skip
"""Names of these modules that run text as code, reach any attribute or draw lots."""

BUILTINS = frozenset({
    "__import__", "breakpoint", "compile", "delattr", "eval", "exec", "getattr", "globals", "input", "locals",
    "open", "setattr", "vars",
})  # fmt: skip
"""Names of Python that read what is no argument, or hide what is read."""

CALLED = frozenset(("hash", "id"))
"""Names of Python that answer otherwise in each process; a variable may be called so."""

CONNECTIONS = frozenset(
    f"collector.api.{kind}" for kind in ("Aws", "Host", "Http", "Kubernetes", "Ldap", "Registers", "Sql", "Tls")
)
"""What a source asks; each tells the time of the collection, on record."""

CLOCKS = frozenset(("now", "today", "utcnow"))

SPECIAL = frozenset({
    "__annotations__", "__doc__", "__eq__", "__hash__", "__init__", "__name__", "__new__", "__post_init__",
    "__qualname__", "__setattr__",
})  # fmt: skip
"""Names of the form ``__x__`` that lead nowhere."""

SEALED = "keep to docs/tutorial-check.md, What a module may import; what differs from house to house is a limit"


class Fault(NamedTuple):
    """Something a module may not do."""

    line: int
    what: str
    next_step: str = SEALED


class Beside(NamedTuple):
    """Names taken from a module of the same folder, as in ``from ._limits import DAYS``."""

    line: int
    level: int
    """How many dots."""
    module: str
    names: tuple[str, ...]


def read(tree: ast.Module) -> tuple[list[Fault], list[Beside]]:
    """Everything in a module that no seal would hold, and everything it takes from its own folder."""
    nodes = _by_kind(tree)
    bound: dict[str, str] = {}
    found: list[Fault] = []
    for node in nodes[ast.Import]:
        found += _imported(node, bound)
    for node in nodes[ast.ImportFrom]:
        found += _taken(node, bound)
    bases = {id(node.value) for node in nodes[ast.Attribute]}
    asked = any(node.attr in CLOCKS for node in nodes[ast.Attribute])
    clocks = set(_own_clocks(nodes[ast.FunctionDef], bound)) if asked else set()
    for node in nodes[ast.Name]:
        if node.id in bound or node.id in BUILTINS or node.id.startswith("__"):
            found += _name(node, bound, id(node) in bases)
    for node in nodes[ast.Attribute]:
        if node.attr.startswith("__") or node.attr in CLOCKS:
            found += _attribute(node, id(node) in clocks)
        found += _followed(node, bound)
    for node in nodes[ast.Call]:
        found += _call(node)
    for node in nodes[ast.MatchClass]:
        found += [_leads_out(node.lineno, name) for name in node.kwd_attrs if _special(name)]
    taken = [
        Beside(node.lineno, node.level, node.module or "", tuple(alias.name for alias in node.names))
        for node in nodes[ast.ImportFrom]
        if node.level
    ]
    return found, taken


def _by_kind(tree: ast.AST) -> defaultdict[type, list[Any]]:
    """The nodes of a tree by their class; in less time than :func:`ast.walk` takes."""
    kinds: defaultdict[type, list[Any]] = defaultdict(list)
    found: list[Any] = [tree]
    for node in found:
        kind = node.__class__
        kinds[kind].append(node)
        if kind is ast.Name or kind is ast.Constant:
            continue
        for name in kind._fields:
            value = getattr(node, name)
            if value.__class__ is list:
                found += [item for item in value if isinstance(item, ast.AST)]
            elif isinstance(value, ast.AST):
                found.append(value)
    return kinds


def _imported(node: ast.Import, bound: dict[str, str]) -> Iterator[Fault]:
    for alias in node.names:
        if alias.name not in ALLOWED:
            yield _foreign(node.lineno, alias.name)
        top = alias.name.partition(".")[0]
        bound[alias.asname or top] = alias.name if alias.asname else top


def _taken(node: ast.ImportFrom, bound: dict[str, str]) -> Iterator[Fault]:
    module = node.module or ""
    if node.level:
        if not module.rpartition(".")[2].startswith("_"):
            spelt = "." * node.level + module
            yield Fault(
                node.lineno, f"takes names from {spelt}, which is no helper of this folder",
                "move what is shared to a file such as _shared.py, and write: from ._shared import NAME",
            )  # fmt: skip
    elif module not in ALLOWED and not any(f"{module}.{alias.name}" in ALLOWED for alias in node.names):
        yield _foreign(node.lineno, module)
        return
    for alias in node.names:
        if alias.name == "*":
            yield Fault(node.lineno, "imports *, which does not say what", "name what is imported")
        elif not node.level:
            path = f"{module}.{alias.name}"
            if path not in ALLOWED:
                yield from _reached(node.lineno, path)
            bound[alias.asname or alias.name] = path


def _foreign(line: int, module: str) -> Fault:
    return Fault(
        line, f"imports {module}, which is not sealed with the run",
        "put what is needed of it into a file such as _shared.py of this folder, and write: from ._shared import NAME; "
        "docs/tutorial-check.md lists what of Python may be imported",
    )  # fmt: skip


def _leads_out(line: int, name: str) -> Fault:
    return Fault(line, f"uses {name}, which reaches what is not sealed with the run")


def _name(node: ast.Name, bound: Mapping[str, str], is_base: bool) -> Iterator[Fault]:
    if not isinstance(node.ctx, ast.Load):
        return
    if node.id in BUILTINS or (_special(node.id) and node.id not in SPECIAL):
        yield _leads_out(node.lineno, node.id)
    elif not is_base and (bound.get(node.id) in ALLOWED or bound.get(node.id) in PARENTS):
        yield Fault(node.lineno, f"hands on the module {node.id}", "name what is needed of it")


def _attribute(node: ast.Attribute, own_clock: bool) -> Iterator[Fault]:
    if _special(node.attr) and node.attr not in SPECIAL:
        yield _leads_out(node.lineno, node.attr)
    if node.attr in CLOCKS and not own_clock:
        yield Fault(
            node.lineno, f"reads a clock ({node.attr})",
            "a check takes as_of, the time of collection; a source asks its connection, which records it",
        )  # fmt: skip


def _followed(node: ast.Attribute, bound: Mapping[str, str]) -> Iterator[Fault]:
    """Why what is reached through a module that was imported may not be."""
    path = _dotted(node, bound)
    if path and path not in ALLOWED and path not in PARENTS:
        module = path.rpartition(".")[0]
        if module in ALLOWED or module in PARENTS:
            yield from _reached(node.lineno, path)


def _call(node: ast.Call) -> Iterator[Fault]:
    match node.func:
        case ast.Name(id=name) if name in CALLED:
            yield Fault(node.lineno, f"uses {name}, which differs from process to process", "compare the values")
        case ast.Attribute(attr="astimezone") if not node.args and not node.keywords:
            yield Fault(node.lineno, "takes the time zone of this machine", "write astimezone(UTC)")
        case ast.Attribute(attr="fromtimestamp") if len(node.args) + len(node.keywords) < 2:
            yield Fault(node.lineno, "takes the time zone of this machine", "write fromtimestamp(seconds, UTC)")


def _reached(line: int, path: str) -> Iterator[Fault]:
    """Why a name may not be taken from its module."""
    module, _, name = path.rpartition(".")
    if module not in ALLOWED:
        yield _foreign(line, path)
        return
    value = vars(import_module(module)).get(name)
    only = ALLOWED[module].split()
    if (
        path in BARRED
        or (only and name not in only)
        or (name.startswith("_") and not _special(name))
        or isinstance(value, ModuleType)
        or (module.startswith("collector.") and not _defines(import_module(module), name, value))
    ):
        yield Fault(line, f"takes {name} from {module}, which reaches what is not sealed with the run")


def _defines(module: ModuleType, name: str, value: object) -> bool:
    """True for what a module of ours offers, and not for what it only uses."""
    told = vars(module).get("__all__", ())
    return name in told or not isinstance(value, type | FunctionType) or value.__module__ == module.__name__


def _own_clocks(functions: list[ast.FunctionDef], bound: Mapping[str, str]) -> Iterator[int]:
    """Where a source, or a function it hands its connection to, asks the connection for the time: that is on record."""
    for function in functions:
        given = function.args.args
        names = {one.arg for one in given if one.annotation and _dotted(one.annotation, bound) in CONNECTIONS}
        if given and any(_is_source(decorator, bound) for decorator in function.decorator_list):
            names.add(given[0].arg)
        for node in ast.walk(function) if names else ():
            match node:
                case ast.Attribute(value=ast.Name(id=name), attr="now") if name in names:
                    yield id(node)


def _is_source(decorator: ast.expr, bound: Mapping[str, str]) -> bool:
    match decorator:
        case ast.Call(func=ast.Name(id=name)):
            return bound.get(name) == "collector.api.source"
        case ast.Call(func=ast.Attribute() as function):
            return _dotted(function, bound) == "collector.api.source"
    return False


def _dotted(node: ast.expr, bound: Mapping[str, str]) -> str:
    """The whole name of something that was imported, by its first module; empty for anything else."""
    if isinstance(node, ast.Attribute):
        base = _dotted(node.value, bound)
        return f"{base}.{node.attr}" if base else ""
    return bound.get(node.id, "") if isinstance(node, ast.Name) else ""


def _special(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")
