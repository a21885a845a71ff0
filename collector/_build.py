"""Ships ``checks/`` and ``mappings/`` inside the wheel, as ``collector/_bundled/``.

Only a standard wheel gets the copy: an editable install loads both folders from the checkout.
"""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class BundleContent(BuildHookInterface):  # type: ignore[type-arg]
    """Adds the content folders to a standard wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name each content file once; hatchling copies them, and the examples, under ``collector/_bundled``."""
        if version != "standard":
            return
        root = Path(self.root)
        files = [root / "config.example.yaml"]
        for folder in ("checks", "mappings"):
            files += [p for p in sorted((root / folder).rglob("*")) if p.is_file() and p.suffix != ".pyc"]
        for path in sorted((root / "tests" / "checks").rglob("*.yaml")):
            kept = f"collector/_bundled/checks/examples/{path.relative_to(root / 'tests' / 'checks')}"
            build_data["force_include"][str(path)] = kept
        build_data["force_include"].update({str(p): f"collector/_bundled/{p.relative_to(root)}" for p in files})
