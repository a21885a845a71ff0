"""What a store costs: a year of daily runs is sealed, measured and verified; figures are ratios within one run.

``python benchmarks/store.py [--runs 365] [--pages 100] [--results 20] [--unordered] [--big]``. The year is that of the
issue: 10,000 records of 860 bytes in pages of 100, 1 % of them change a day, and each reply names the request it
answers. ``--big`` verifies a store of 10 GB of bodies as well, and prints the memory that took. ``--unordered``
measures a month of the same records in another order each day, and nothing else.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from evidence_store.keys import FileSigner
from evidence_store.stats import measure
from evidence_store.store import Store

SIGNER = FileSigner(Ed25519PrivateKey.from_private_bytes(bytes(31) + b"\x09"))
RECORDS_A_PAGE = 100
CHANGED_A_DAY = 0.01
VERIFY = """\
import sys, time
from pathlib import Path
from evidence_store.verify import verify_store
started, cpu = time.perf_counter(), time.process_time()
path, key, depth = Path(sys.argv[1]), *sys.argv[2:]
found = verify_store(path, key=key, read_data=depth == "all", chain_only=depth == "chain")
wall, cpu = time.perf_counter() - started, time.process_time() - cpu
assert found.ok, found.problems
# Not ru_maxrss: that begins with the parent's.
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(wall, cpu, found.objects, int(peak.split()[1]) / 1024)
"""


def record(dice: random.Random, number: int) -> str:
    """One user as an API gives it, about 860 bytes."""
    return json.dumps(
        {
            "Path": f"/division-{number % 17}/",
            "UserName": f"user-{number:06}",
            "UserId": f"AIDA{dice.getrandbits(64):016X}",
            "Arn": f"arn:aws:iam::123456789012:user/division-{number % 17}/user-{number:06}",
            "CreateDate": f"20{dice.randrange(10, 26)}-0{dice.randrange(1, 10)}-1{dice.randrange(10)}T08:00:00Z",
            "PasswordLastUsed": f"2026-0{dice.randrange(1, 10)}-1{dice.randrange(10)}T10:{dice.randrange(10, 60)}:00Z",
            "AttachedPolicies": [
                {"PolicyName": f"policy-{name}", "PolicyArn": f"arn:aws:iam::123456789012:policy/policy-{name}"}
                for name in dice.sample(range(40), 3)
            ],
            "Tags": [
                {"Key": "owner", "Value": f"user-{dice.randrange(10_000):06}@example.org"},
                {"Key": "cost-centre", "Value": f"{dice.randrange(900)}"},
                {"Key": "environment", "Value": dice.choice(["production", "staging", "development"])},
            ],
            "Groups": [f"group-{dice.randrange(30)}" for _ in range(3)],
            "AccessKeys": [{"AccessKeyId": f"AKIA{dice.getrandbits(64):016X}", "Status": "Active"} for _ in range(2)],
        }
    )


def days(runs: int, pages: int, *, shuffled: bool = False) -> Iterator[list[bytes]]:
    """The bodies of each day."""
    dice = random.Random(20260101)
    records = [record(dice, number) for number in range(pages * RECORDS_A_PAGE)]
    for _ in range(runs):
        for number in dice.sample(range(len(records)), round(len(records) * CHANGED_A_DAY)):
            records[number] = record(dice, number)
        order = dice.sample(records, len(records)) if shuffled else records
        yield [
            ('{"Users":[' + ",".join(order[first : first + RECORDS_A_PAGE]) + "]}").encode()
            for first in range(0, len(records), RECORDS_A_PAGE)
        ]


def seal(path: Path, runs: int, pages: int, results: int, *, shuffled: str = "") -> list[float]:
    """A store of so many runs; what the store took of each, in seconds.

    With ``shuffled`` the records come in another order each day: "told" of a source that says so, or "untold".
    """
    took = []
    with Store.create(path, origin="bench.example.org/store", signer=SIGNER) as store:
        for bodies in days(runs, pages, shuffled=bool(shuffled)):
            started = time.perf_counter()
            run = store.begin({"trigger": "benchmark"}, b'{"plan":"benchmark"}')
            for page, body in enumerate(bodies):
                line = {"task": "iam.users", "op": "iam:ListUsers", "params": {}, "region": "", "page": page}
                line |= {"unordered": True} if shuffled == "told" else {}
                sha256 = run.add_object(body, request=line)
                run.add_reply({**line, "status": 200, "last": page == pages - 1, "sha256": sha256, "size": len(body)})
            findings = ({"kind": "finding", "check": f"aws.iam.check-{n}", "outcome": "PASS"} for n in range(results))
            run.close(findings, {"outcome": "complete"})
            took.append(time.perf_counter() - started)
    return took


def sha_rate() -> tuple[float, float]:
    """Bytes this machine hashes in a second, and in a second of one core's time, in bodies of the benchmark's size."""
    body, wall_rate, cpu_rate = os.urandom(86_000), 0.0, 0.0
    for _ in range(5):
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(1500):
            hashlib.sha256(body).digest()
        wall_rate = max(wall_rate, 1500 * len(body) / (time.perf_counter() - wall))
        cpu_rate = max(cpu_rate, 1500 * len(body) / (time.process_time() - cpu))
    return wall_rate, cpu_rate


@dataclass(frozen=True)
class Cost:
    """What a verification took."""

    wall_s: float
    cpu_s: float
    bodies: int
    peak_mb: float


def verify(path: Path, depth: str) -> Cost:
    """A verification in a process of its own."""
    code = [sys.executable, "-c", VERIFY, str(path), SIGNER.keyid, depth]
    wall, cpu, bodies, peak = subprocess.run(code, check=True, capture_output=True, text=True).stdout.split()
    return Cost(float(wall), float(cpu), int(bodies), float(peak))


def year(folder: Path, runs: int, pages: int, results: int) -> None:
    """Seal and verify a year, and print how it compares with what was promised."""
    path = folder / "year"
    took = seal(path, runs, pages, results)
    sizes = measure(path)
    stored = sum(file.stat().st_size for file in path.rglob("*") if file.is_file() and file.name != "index.sqlite")
    # Hash rate and verification alternate, so that a noisy machine slows both.
    rates, wholes, chains = [], [], []
    for _ in range(4):
        rates.append(sha_rate())
        wholes.append(verify(path, "all"))
        chains.append(verify(path, "chain"))
    rate, core = max(rate for rate, _ in rates), max(core for _, core in rates)
    whole, chain = min(wholes, key=lambda cost: cost.wall_s), min(chains, key=lambda cost: cost.wall_s)
    cpu, cpu_chain = min(cost.cpu_s for cost in wholes), min(cost.cpu_s for cost in chains)
    print(
        f"{runs} runs of {pages} pages and {results} result lines; "
        f"{whole.bodies} bodies, {sizes.raw / 1e6:,.0f} MB in all"
    )
    print(f"store                 {stored / 1e6:8.1f} MB    target <= 25 for 365 runs of 100 pages")
    print(f"seal, median a run    {statistics.median(took):8.3f} s     target <= 0.3   (longest {max(took):.2f})")
    print(f"SHA-256 alone         {rate / 1e6:8.0f} MB/s")
    ratio = f"{sizes.raw / whole.wall_s / 1e6:.0f} MB/s, {sizes.raw / whole.wall_s / rate:.0%} of SHA-256"
    print(f"verify                {whole.wall_s:8.2f} s     {ratio}, target >= 50 %")
    print(f"  in time of a core   {cpu:8.2f} s     {sizes.raw / cpu / core:.0%} of SHA-256")
    print(f"verify, chain only    {chain.wall_s:8.2f} s     1/{whole.wall_s / chain.wall_s:.1f} of it, target <= 1/5")
    print(f"  in time of a core   {cpu_chain:8.2f} s     1/{cpu / cpu_chain:.1f}")
    print(f"memory to verify      {max(cost.peak_mb for cost in wholes):8.0f} MB")


def unordered(folder: Path, runs: int, pages: int) -> None:
    """Seal a month of a list that comes in another order each day, with and without a source that says so."""
    sizes: dict[str, float] = {}
    for shuffled in ("untold", "told"):
        took = seal(folder / shuffled, runs, pages, 20, shuffled=shuffled)
        packs = sorted((folder / shuffled).glob("runs/*/objects.pack"))
        sizes[shuffled] = sum(pack.stat().st_size for pack in packs[1:]) / len(packs[1:])
        cost = verify(folder / shuffled, "all")
        costs = f"seal {statistics.median(took):.2f} s a run; verify {cost.wall_s:.2f} s, {cost.peak_mb:.0f} MB"
        print(f"unordered, {shuffled:6}     {sizes[shuffled] / 1e6:8.2f} MB a day; {costs}")
    print(f"                      {sizes['untold'] / sizes['told']:8.1f} times smaller")


def big(folder: Path) -> None:
    """Verify 10 GB of bodies, and print the memory it took."""
    path = folder / "big"
    dice, raw = random.Random(1), 0
    with Store.create(path, origin="bench.example.org/big", signer=SIGNER) as store:
        texts = [dice.randbytes(300).hex() * 2000 for _ in range(100)]  # 1.2 MB each
        for number in range(84):
            run = store.begin({}, b"{}")
            for page, text in enumerate(texts):
                body = f"{number}{text}".encode()
                raw += len(body)
                line = {"op": "x", "page": page}
                run.add_reply({**line, "sha256": run.add_object(body, request=line)})
            run.close([], {})
    cost = verify(path, "all")
    print(f"big store: {raw / 1e9:.1f} GB in {cost.bodies} bodies verified in {cost.wall_s:.1f} s")
    print(f"memory to verify      {cost.peak_mb:8.0f} MB    target < 200")
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"memory to write       {own:8.0f} MB")


def main() -> None:
    """Measure in a folder that is removed again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=365)
    parser.add_argument("--pages", type=int, default=100)
    parser.add_argument("--results", type=int, default=20, help="result lines a run")
    parser.add_argument("--unordered", action="store_true", help="a month of a list in another order each day, only")
    parser.add_argument("--big", action="store_true", help="verify 10 GB as well")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if given.unordered:
            unordered(Path(folder), 31, given.pages)
            return
        year(Path(folder), given.runs, given.pages, given.results)
        if given.big:
            big(Path(folder))


if __name__ == "__main__":
    main()
