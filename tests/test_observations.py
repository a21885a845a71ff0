"""Crammed evidence raises questions; honest evidence raises none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from collector.model import stamp
from collector.observations import Sight, observe
from tests.http_world import HttpWorld, Reply
from tests.small_cloud import Office, affidavit

START = datetime(2026, 1, 1, tzinfo=UTC)
END = START + timedelta(days=365)


def run(
    number: int, day: float, rows: int = 7, root: str = "", reasons: int = 3, fact_days: float | None = None
) -> Sight:
    opened = START + timedelta(days=day)
    populations = [{"task": "aws.s3.buckets@p", "rows": rows, "root": root or f"r{number}"}]
    findings: list[dict[str, Any]] = [
        {"check": "c", "outcome": "PASS", "reason": f"size {n % reasons}"} for n in range(40)
    ]
    facts = {} if fact_days is None else {"a.keys@p": opened - timedelta(days=fact_days), "a.users@p": opened}
    return Sight(number, opened, populations, findings, facts)


def kinds(runs: list[Sight]) -> set[str]:
    return {each.kind for each in observe(runs, START, END)}


def test_an_honest_year_raises_no_question() -> None:
    assert kinds([run(number, number * 7.0, rows=7 + number % 3) for number in range(52)]) == set()


def test_evidence_made_for_the_audit_is_seen() -> None:
    crammed = [run(number, 340 + number, rows=100, root="same", reasons=1, fact_days=40) for number in range(12)]
    found = observe(crammed, START, END)
    assert {each.kind for each in found} == {
        "clustered before the audit", "a list that never changes", "identical in every case",
        "older than its collection", "a round number",
    }  # fmt: skip
    told = {each.kind: each.statistic for each in found}
    assert next(each.about for each in found if each.kind == "older than its collection") == "run 0, a.keys@p"
    assert told["clustered before the audit"] == "12 of 12 runs in the last 30 of 365 days"
    assert told["a list that never changes"] == "the same 100 records in 12 runs"
    assert told["identical in every case"] == "40 of 40 resources pass as: size 0"
    assert told["older than its collection"] == "its facts are 40 days older than the run"


HOUSE = """
from collector.api import Record, Verdict, check, fail, ok, source
@source("acme.keys", permissions=("GET /keys",), fresh="exported", max_age_h=9000,
        key="id", per="connection")
def keys(acme):
    \"\"\"All keys, as they were exported.\"\"\"
    yield from acme.pages("/keys")
@source("acme.users", permissions=("GET /users",), key="id", per="connection")
def users(acme):
    \"\"\"All users.\"\"\"
    yield from acme.pages("/users")
@check("acme.keys.named", title="Keys have a name", severity="low", each="acme.keys")
def named(key: Record) -> Verdict:
    \"\"\"It has.\"\"\"
    return ok("named") if key["name"] else fail("has none")
@check("acme.users.named", title="Users have a name", severity="low", each="acme.users")
def user_named(user: Record) -> Verdict:
    \"\"\"It has.\"\"\"
    return ok("named") if user["name"] else fail("has none")
"""
EXAMPLES = """
{check}:
  - {{outcome: pass, row: {{id: a, name: b{more}}}}}
  - {{outcome: fail, row: {{id: a, name: ""{more}}}}}
  - {{outcome: unknown, row: {{id: a, name: {{$gap: {{kind: denied, reason: no, operation: x}}}}{more}}}}}
"""


def test_the_command_asks_about_facts_that_are_older_than_their_run(tmp_path: Path) -> None:
    world = HttpWorld(tmp_path)
    exported = [stamp(datetime.now(UTC) - timedelta(days=days, hours=1)) for days in (40, 30)]
    rows = [{"id": f"k{number}", "name": "n", "exported": at} for number, at in enumerate([*exported, "never"])]
    world.route("/keys", lambda request: Reply(200, rows))
    world.route("/users", lambda request: Reply(200, [{"id": "u", "name": "n", "exported": "2020-01-01T00:00:00Z"}]))
    office = Office(tmp_path / "office", world.origin)
    house = office.folder / "house"
    (house / "examples").mkdir(parents=True)
    (house / "acme.py").write_text(HOUSE)
    more = f", exported: '{stamp(datetime(2026, 5, 30, tzinfo=UTC))}'"
    told = [EXAMPLES.format(check=f"acme.{kind}.named", more=more) for kind in ("keys", "users")]
    (house / "examples" / "acme.yaml").write_text("".join(told))
    (office.folder / "token").touch(mode=0o600)
    (office.folder / "token").write_text("00-example-token")
    office.config.write_text(f"""version: 1
organisation: Test Ltd
store: {{path: store, origin: test.example.org/log}}
key: {{file: signing.key, passphrase: file:passphrase}}
connections: [{{name: acme, kind: http, provider: acme, base_url: "{world.origin}", token: file:token}}]
plugins: {{folders: [house]}}
collection: {{attempts: 1, timeout_s: 5}}
""")
    try:
        assert office.run().code in (0, 3)
    finally:
        world.stop()
    asked = office.command("observe", "--from", "2026-01-01", "--to", "2999-01-01")
    (found,) = [row for row in affidavit(*asked, "--json").json["observations"] if row["kind"].startswith("older")]
    assert found["about"] == "run 1, acme.keys@acme"
    assert found["statistic"] == "its facts are 30 days older than the run"
    office.config.write_text(office.config.read_text().replace("plugins: {folders: [house]}", ""))
    said = affidavit(*asked)
    assert said.code == 0
    assert "run 1: how old its facts are was not looked at: the run read acme.keys" in said.err


def test_few_runs_prove_nothing() -> None:
    assert "clustered before the audit" not in kinds([run(1, 350), run(2, 351)])
    assert observe([], START, END) == []
