"""Loads check modules by path: our own folder, a customer's folder, an installed package; all alike."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path, PurePosixPath
from types import ModuleType

from collector import purity
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
    """Module file, relative to its folder, to its bytes: what is sealed so that a verdict can be re-performed.

    Helpers, whose names begin with ``_``, are among them.
    """
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
        roots += _installed(entry)
    return load_folders((*roots, *folders))


def _installed(entry: EntryPoint) -> list[Path]:
    """Where an installed package is, found without running any of it: what runs is what is sealed."""
    top, *inner = entry.module.split(".")
    spec = importlib.util.find_spec(top)
    if spec is None or spec.submodule_search_locations is None:
        raise ConfigError(
            f"{entry.name} of {ENTRY_POINTS} names {entry.module}, which is no installed package",
            "install the package of these checks again, or remove it",
        )
    return [path for place in spec.submodule_search_locations if (path := Path(place, *inner)).is_dir()]


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
        own = {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*.py"))}
        folder = _Folder(root, own, held=root != content_root() / "checks")
        for file, content in own.items():
            name = f"{root.name}/{file}"
            if name in code:
                raise ConfigError(
                    f"two check folders are called {root.name}, and both hold {file}", f"rename the folder {root}"
                )
            code[name] = content
            if PurePosixPath(file).name.startswith("_"):
                continue
            for item in _declared(folder.module(file)):
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


class _Folder:
    """The modules of one folder, run from the very bytes that are sealed.

    They stand in a package of their own, so that ``from ._limits import DAYS`` finds a helper of the folder and nothing
    else. A helper runs when the first module takes from it. ``held`` to :mod:`collector.purity`: our own modules, which
    have no helpers, are held to it by a test instead, for it takes as long as loading them.
    """

    def __init__(self, root: Path, code: Mapping[str, bytes], *, held: bool) -> None:
        self._root = root
        self._code = code
        self._held = held
        told = hashlib.sha256(str(root).encode())
        for file, content in code.items():
            told.update(file.encode() + hashlib.sha256(content).digest())
        self._package = f"affidavit_content_{told.hexdigest()[:16]}"
        self._ready: dict[str, ModuleType] = {}
        self._begun: set[str] = set()

    def module(self, file: str) -> ModuleType:
        """The module of a file, and before it the helpers it takes from.

        Raises:
            ConfigError: it does not load, or it reaches for what is not sealed.
        """
        if file in self._ready:
            return self._ready[file]
        self._begun.add(file)
        path = self._root / file
        content: bytes | ast.Module = self._code[file]
        if self._held:
            try:
                content = ast.parse(content, str(path))
            except (SyntaxError, ValueError) as error:
                raise _broken(path, error) from error
            faults, beside = purity.read(content)
            for fault in faults:
                raise ConfigError(f"{path}, line {fault.line}: {fault.what}", fault.next_step)
            for one in beside:
                self._helper(file, one)
        *parents, name = PurePosixPath(file).with_suffix("").parts
        package = ".".join((self._package, *parents))
        module = ModuleType(f"{package}.{name}")
        module.__file__, module.__package__ = str(path), package
        sys.modules.setdefault(package, ModuleType(package))
        sys.modules[module.__name__] = module
        try:
            exec(compile(content, str(path), "exec"), module.__dict__)  # noqa: S102 - the very bytes that are sealed
        except (SyntaxError, ImportError, TypeError, NameError, AttributeError, ValueError) as error:
            raise _broken(path, error) from error
        self._ready[file] = module
        return module

    def _helper(self, file: str, taken: purity.Beside) -> None:
        """Run the helper that a module takes from, and see that it gives no module of elsewhere."""
        where = f"{self._root / file}, line {taken.line}"
        parents = PurePosixPath(file).parts[: -taken.level]
        helper = "/".join((*parents, *taken.module.split("."))) + ".py"
        if taken.level > len(PurePosixPath(file).parts) or helper not in self._code:
            raise ConfigError(
                f"{where}: {'.' * taken.level}{taken.module} is no file of {self._root}",
                "correct the name, or put the file into the folder, where it is sealed with the run",
            )
        if helper in self._begun and helper not in self._ready:
            raise ConfigError(f"{where}: {helper} and {file} take from each other", "move what both need to a third")
        given = vars(self.module(helper))
        for name in taken.names:
            if isinstance(given.get(name), ModuleType):
                raise ConfigError(f"{where}: {name} of {helper} is a module", "import it here")


def _broken(path: Path, error: Exception) -> ConfigError:
    return ConfigError(
        f"{path} does not load: {type(error).__name__}: {error}", "correct the module, then run affidavit list checks"
    )


def _declared(module: ModuleType) -> Iterable[Source | Check]:
    """What a module declares: under a name of its own, or as a member of a family.

    A family is a tuple or list under a name of the module. What stands in one and under a name too is declared once.
    """
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
