"""Builds the wheel, installs it in an empty environment and uses it from another folder: checks must be found there."""

import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent


def main() -> None:
    """Fail when the wheel lists other checks than the checkout, or cannot run from elsewhere."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run(
            [
                sys.executable,
                "-m",
                "pip",
                "wheel",
                "-q",
                "--no-deps",
                "--no-build-isolation",
                "-w",
                str(folder),
                str(ROOT),
            ],
            check=True,
        )
        wheel = next(folder.glob("affidavit-*.whl"))
        venv.create(folder / "venv", with_pip=True)
        pip = [str(folder / "venv/bin/python"), "-m", "pip", "install", "-q"]
        subprocess.run([*pip, "--require-hashes", "-r", str(ROOT / "requirements/run.txt")], check=True)
        subprocess.run([*pip, "--no-deps", str(wheel)], check=True)
        command = [str(folder / "venv/bin/affidavit"), "list", "checks", "--json"]
        installed = json.loads(subprocess.run(command, check=True, capture_output=True, cwd="/").stdout)["checks"]
        here = json.loads(
            subprocess.run(
                [sys.executable, "-m", "collector", "list", "checks", "--json"],
                check=True,
                capture_output=True,
                cwd=ROOT,
            ).stdout
        )["checks"]
        if installed != here:
            sys.exit(f"the wheel lists {len(installed)} checks, the checkout {len(here)}")
        subprocess.run(
            [str(folder / "venv/bin/affidavit"), "init", str(folder / "new")],
            check=True,
            cwd="/",
            stdout=subprocess.DEVNULL,
        )
        subprocess.run(
            [str(folder / "venv/bin/python"), "-m", "evidence_store", "--help"],
            check=True,
            cwd="/",
            stdout=subprocess.DEVNULL,
        )
        print(f"{wheel.name}: {len(installed)} checks, installed and run from /")


main()
