"""The JSON Schemas that mappings, catalogues and registers were held against, as they are sealed with a run."""

from __future__ import annotations

from importlib.resources import files

from collector.plugins import content_root
from collector.registers.shape import NAMES

FOLDER = "mappings/schema"


def schemas(*, registers: bool) -> dict[str, bytes]:
    """Each schema by the name it is sealed under; those of registers stand in a folder of their own."""
    found = {f"{FOLDER}/{path.name}": path.read_bytes() for path in (content_root() / FOLDER).glob("*.json")}
    if registers:
        folder = files("collector").joinpath("registers/schema")
        found |= {f"{FOLDER}/registers/{name}.json": folder.joinpath(f"{name}.json").read_bytes() for name in NAMES}
    return found
