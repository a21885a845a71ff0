"""Loads check modules by path: our own folder, a customer's folder, an installed package; all alike."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from pathlib import Path

from collector.api import Check, Source
from collector.errors import ConfigError

ENTRY_POINTS = "affidavit.checks"
"""Entry point group of packages that carry checks; each names a package whose folder is loaded."""


@dataclass(frozen=True, slots=True)
class Library:
    """All sources and checks of a run, and the code they came from."""

    sources: Mapping[str, Source]
    checks: Mapping[str, Check]
    code: Mapping[str, bytes]
    """Module file, relative to its folder, to its bytes: what is sealed so that a verdict can be re-performed."""
    examples: Mapping[str, bytes]
    """Files of examples, likewise: every run shows with them that its checks can fail."""


def content_root() -> Path:
    """Folder that holds ``checks/`` and ``mappings/``: beside the package in a checkout, inside it in a wheel."""
    bundled = Path(__file__).parent / "_bundled"
    return bundled if bundled.is_dir() else Path(__file__).parent.parent


def load_checks(folders: Sequence[Path] = ()) -> dict[str, Check]:
    """Every check by its id; see :func:`load`."""
    return dict(load(folders).checks)


def load(folders: Sequence[Path] = (), *, own: bool = True) -> Library:
    """Load our checks, those of installed packages and those in ``folders``.

    Raises:
        ConfigError: a module does not load, an id is declared twice, or a check names an unknown dataset.
    """
    roots = [content_root() / "checks"] if own else []
    for entry in entry_points(group=ENTRY_POINTS):
        roots += [Path(p) for p in getattr(entry.load(), "__path__", [])]
    return load_folders((*roots, *folders))


@functools.cache
def load_folders(roots: tuple[Path, ...]) -> Library:
    """Load the modules of these folders only."""
    sources: dict[str, Source] = {}
    checks: dict[str, Check] = {}
    code: dict[str, bytes] = {}
    examples: dict[str, bytes] = {}
    for root in roots:
        if not root.is_dir():
            raise ConfigError(f"the check folder {root} does not exist", "correct plugins.folders in the configuration")
        for path in sorted(_examples_of(root).rglob("*.yaml")):
            examples[f"examples/{root.name}/{path.relative_to(_examples_of(root))}"] = path.read_bytes()
        for path in sorted(root.rglob("*.py")):
            if path.name.startswith("_"):
                continue
            name = f"{root.name}/{path.relative_to(root)}"
            if name in code:
                raise ConfigError(
                    f"two check folders are called {root.name}, and both hold {path.relative_to(root)}",
                    f"rename the folder {root}",
                )
            code[name] = path.read_bytes()
            for item in _declared(path, code[name]):
                shelf: dict[str, Source] | dict[str, Check] = sources if isinstance(item, Source) else checks
                if item.id in shelf:
                    raise ConfigError(
                        f"{item.id} is declared twice: {shelf[item.id].module} and {name}",
                        f"rename one of them, or drop {root} from plugins.folders",
                    )
                shelf[item.id] = replace(item, module=name)  # type: ignore[assignment]
    return Library(sources, _resolved(checks, sources), code, examples)


def _examples_of(root: Path) -> Path:
    """Where a folder of checks keeps its examples: in ``examples/``; our own in the checkout stand with the tests."""
    own = root.parent / "tests" / "checks"
    return own if root == content_root() / "checks" and own.is_dir() else root / "examples"


def _declared(path: Path, code: bytes) -> Iterable[Source | Check]:
    """What a module declares: under a name of its own, or as a member of a family.

    A family is a tuple or list under a name of the module. What stands in one and under a name too is declared once.
    """
    module_name = "affidavit_content_" + hashlib.sha256(str(path).encode() + code).hexdigest()[:16]
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path} is not a Python module", "remove it from the folder")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        exec(compile(code, str(path), "exec"), module.__dict__)  # noqa: S102 - the very bytes that are sealed
    except (SyntaxError, ImportError, TypeError, NameError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"{path} does not load: {type(error).__name__}: {error}",
            "correct the module, then run affidavit list checks",
        ) from error
    values = list(vars(module).values())
    named = [item for item in values if isinstance(item, Source | Check)]
    members = [item for value in values if isinstance(value, tuple | list) for item in value]
    return named + [item for item in members if isinstance(item, Source | Check) and item not in named]


def _resolved(checks: dict[str, Check], sources: Mapping[str, Source]) -> dict[str, Check]:
    resolved: dict[str, Check] = {}
    for check in checks.values():
        for dataset in check.datasets:
            if dataset not in sources:
                raise ConfigError(
                    f"{check.id} ({check.module}) asks for {dataset}, which no source gives",
                    f"correct the dataset, or add a source; affidavit list sources shows the {len(sources)} there are",
                )
        kinds = tuple(sources[dataset].kind for dataset in check.datasets)
        resolved[check.id] = replace(check, dataset_kinds=kinds)
    return resolved
