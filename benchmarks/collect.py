"""What one collection costs: wall, CPU, peak memory, requests and duplicates.

``python benchmarks/collect.py`` measures the demo estate, and, where ``../shared/bench`` is there, its estate of scale
1 behind 50 ms of latency. Figures of one machine: compare them as ratios within one run.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from collector.demo import story
from evidence_store.keys import create_key_file
from evidence_store.store import Store

ROOT = Path(__file__).parent.parent
BENCH = ROOT.parent / "shared" / "bench"
CONFIG = """\
version: 1
organisation: Benchmark
store: {{path: store, origin: bench.example.org/affidavit}}
key: {{file: key, passphrase: file:passphrase}}
connections:
  - {{name: aws, kind: aws, regions: [us-east-1, eu-west-1], endpoint_url: "{endpoint}",
     access_key_id: file:id, secret_access_key: file:secret}}
collection: {{workers: {workers}}}
"""


@dataclass(frozen=True)
class Cost:
    """What one command took."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    exit_code: int


def measure(*argv: str, cwd: Path) -> Cost:
    """Run a command of ours as a process of its own."""
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "collector", *argv], cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.monotonic() - started
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, process.returncode)


def configure(folder: Path, endpoint: str, workers: int) -> None:
    """A configuration, a key and the emulator's credentials."""
    folder.mkdir()
    for name, text in (("passphrase", "benchmark only"), ("id", "testing"), ("secret", "testing")):
        (folder / name).touch(mode=0o600)
        (folder / name).write_text(text)
    create_key_file(folder / "key", b"benchmark only")
    (folder / "config.yaml").write_text(CONFIG.format(endpoint=endpoint, workers=workers))


def requests_of(folder: Path) -> tuple[int, int, int]:
    """Requests on record, those asked twice, and findings."""
    with Store.open(folder / "store") as store:
        run = store.run()
        asked = Counter(
            (line["op"], json.dumps(line["params"], sort_keys=True), line["region"], line["tokenIn"])
            for line in run.replies()
            if line["attempt"] == 1
        )
        findings = sum(line["kind"] == "finding" for line in run.results())
    return asked.total(), sum(count - 1 for count in asked.values()), findings


def row(name: str, cost: Cost, more: str = "") -> str:
    """One line of the table."""
    return f"| {name} | {cost.wall_s:.1f} | {cost.cpu_s:.1f} | {cost.peak_mb:.0f} | {more} |"


def one_estate(name: str, endpoint: str, tmp: Path, workers: int = 16) -> None:
    """Measure a full run, one question, and the re-performance."""
    folder = tmp / name.replace(" ", "-")
    configure(folder, endpoint, workers)
    full = measure("run", cwd=folder)
    total, again, findings = requests_of(folder)
    print(row(f"{name}: run", full, f"{total} requests, {again} asked twice, {findings} findings"))
    print(row(f"{name}: rerun", measure("rerun", "store", cwd=folder), f"{findings} findings from the recording"))
    one = measure("run", "--check", "aws.iam.password-policy-length", cwd=folder)
    total, again, _ = requests_of(folder)
    print(row(f"{name}: one check (password policy)", one, f"{total} requests, {again} asked twice"))


def free_port() -> int:
    """A port nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def bench_estate(latency_ms: int) -> Iterator[str]:
    """The seeded estate behind latency; its endpoint."""
    moto, control, proxy = free_port(), free_port(), free_port()
    environ = {
        **os.environ,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    servers = (
        ["moto_ctl.py", "--port", str(moto), "--control-port", str(control)],
        (f"latency_proxy.py --listen 127.0.0.1:{proxy} --upstream 127.0.0.1:{moto} --latency-ms {latency_ms}").split(),
    )
    started = [
        subprocess.Popen([sys.executable, str(BENCH / argv[0]), *argv[1:]], env=environ, stdout=subprocess.DEVNULL)
        for argv in servers
    ]
    try:
        for port in (moto, control, proxy):
            _wait(port)
        seed = [
            sys.executable,
            str(BENCH / "seed.py"),
            "--scale",
            "1",
            "--endpoint",
            f"http://127.0.0.1:{moto}",
            "--control",
            f"http://127.0.0.1:{control}",
        ]
        subprocess.run(seed, check=True, env=environ, stdout=subprocess.DEVNULL)
        yield f"http://127.0.0.1:{proxy}"
        report = json.loads(urllib.request.urlopen(f"http://127.0.0.1:{proxy}/__proxy__/report", timeout=10).read())
        print(f"\nThe proxy counted {report['requests']} requests in all, {report.get('duplicates', 0)} duplicates.")
    finally:
        for process in started:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=10)


def _wait(port: int) -> None:
    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise TimeoutError(port)


def main() -> None:
    """Print the table."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    print("| what | wall s | CPU s | peak MB | |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        tmp = Path(name)
        print(row("affidavit --version", measure("--version", cwd=tmp)))
        print(row("affidavit list checks", measure("list", "checks", cwd=tmp)))
        (tmp / "emulator").mkdir()
        with story._emulator(tmp / "emulator") as ready:
            one_estate("demo estate", ready["endpoint"], tmp)
        if BENCH.is_dir():
            with bench_estate(50) as endpoint:
                one_estate("bench estate, 50 ms", endpoint, tmp)
        else:
            print(f"\nnot measured: there is no {BENCH}")


if __name__ == "__main__":
    main()
