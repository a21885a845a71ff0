"""Who left and can still get in: three systems and a register of people, from the replies to one screen."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from collector.leavers import leavers, screen
from tests.github_world import ORG, GitHubWorld
from tests.http_world import OktaWorld
from tests.register_world import RegisterWorld
from tests.small_cloud import Office, Said, affidavit
from tests.worlds import AwsWorld

GONE, HERE = "ada@example.org", "ben@example.org"
LEFT = (datetime.now(UTC) - timedelta(days=30)).date()
CHECKS = ("joins.okta.leavers", "joins.aws.leavers-keys", "joins.github.leavers")
CONNECTIONS = """\
connections:
  - {{name: okta-acme, kind: okta, base_url: {okta}, token: file:okta-token}}
  - {{name: code-acme, kind: github, base_url: {github}, token: file:github-token, accounts: [{org}]}}
  - {{name: registers, kind: register, folder: {registers}}}
  - {{name: aws-acme, kind: aws, regions: [eu-central-1], endpoint_url: {aws},
     access_key_id: file:id, secret_access_key: file:secret}}
"""


def user(number: int, login: str, status: str = "ACTIVE") -> dict[str, Any]:
    """An Okta user, as the vendor sends one."""
    past = "2026-01-01T00:00:00.000Z"
    names = ("created", "activated", "statusChanged", "lastLogin", "lastUpdated", "passwordChanged")
    times = dict.fromkeys(names, past)
    return {"id": f"00u{number}", "status": status, "profile": {"login": login, "email": login}, **times}


def factor(kind: str) -> dict[str, Any]:
    """A factor of an Okta user."""
    return {"id": f"f-{kind}", "factorType": kind, "provider": "OKTA", "status": "ACTIVE"}


@pytest.fixture
def office(tmp_path: Path, aws_world: AwsWorld) -> Iterator[Office]:
    """Ada left 30 days ago and kept an Okta account, an AWS key and a GitHub membership; Ben is here with the same."""
    with ExitStack() as stack:
        (tmp_path / "okta").mkdir()
        (tmp_path / "github").mkdir()
        okta, github = OktaWorld(tmp_path / "okta"), GitHubWorld(tmp_path / "github")
        for world in (okta, github):
            stack.callback(world.stop)
        okta.users += [user(1, GONE), user(2, HERE), user(3, "ada.old@example.org", "DEPROVISIONED")]
        okta.factors |= {"00u1": [factor("push")], "00u2": [factor("push")]}
        only = {"role": ["member"], "filter": [""]}
        github.held = {
            "/user": {"login": "auditor", "id": 1},
            f"/orgs/{ORG}/members": [
                {"login": login, "id": number, "type": "User", "$only": only}
                for number, login in enumerate(("ada-codes", "ben-codes"), 2)
            ],
        }
        iam = aws_world.client("iam")
        for name in (GONE, HERE):
            iam.create_user(UserName=name)
            iam.create_access_key(UserName=name)
        registers = RegisterWorld(tmp_path)
        kind = {"kind": "employee", "start": "2024-01-01"}
        registers.table(
            "people",
            [
                {"id": "p-1", "email": GONE, "status": "left", "end": LEFT.isoformat(), **kind},
                {"id": "p-2", "email": HERE, "status": "active", **kind},
            ],
        )
        registers.table(
            "identities",
            [
                {"person": "p-1", "system": "code-acme", "account": "ada-codes"},
                {"person": "p-2", "system": "github", "account": "ben-codes"},
            ],
        )
        made = Office(tmp_path / "office", aws_world.endpoint)
        for name, token in (("okta-token", okta.token), ("github-token", github.token)):
            (made.folder / name).touch(mode=0o600)
            (made.folder / name).write_text(token)
        declared = CONNECTIONS.format(
            okta=okta.origin, github=github.origin, org=ORG, registers=registers.root, aws=aws_world.endpoint
        )
        text = re.sub(r"^connections:\n(  .*\n)+", declared, made.config.read_text(), flags=re.MULTILINE)
        made.config.write_text(text)
        yield made


def collected(office: Office) -> Said:
    """A run of what this is about."""
    return office.run("--json", *(part for check in CHECKS for part in ("--check", check)))


def shown(office: Office, *options: str) -> Said:
    return affidavit(*office.command("leavers", *options))


def test_three_live_accounts_of_one_leaver_stand_on_one_screen_with_their_replies(office: Office) -> None:
    said = collected(office)
    assert said.code == 3, said.err
    untold = {line["check"] for line in office.lines("finding") if line["outcome"] == "UNKNOWN"}
    assert all(one.endswith("reconciled") for one in untold), "the worlds have no root line, and no group of everyone"
    lines = [line for line in office.lines("finding") if line["check"] in CHECKS]
    assert Counter(line["outcome"] for line in lines) == {"PASS": 3, "FAIL": 3, "SKIP": 1}
    assert office.verify().ok
    again = office.rerun()
    assert again.code == 0, again.out + again.err

    told = shown(office)
    assert told.code == 1, told.err
    assert told.out.startswith("Run 1: people who left and still have a live account\n\n"), told.out
    assert f"p-1  left on {LEFT}, 30 days before the collection\n" in told.out
    assert "p-2" not in told.out
    assert HERE not in told.out
    assert "ben-codes" not in told.out
    assert f"the account {GONE} is ACTIVE with push" in told.out
    assert re.search(rf"the access key AK\w+ of {GONE} is active, never used", told.out)
    assert "ada-codes is a member of the organisation" in told.out
    assert "1 person; places asked: " in told.out

    document = json.loads(shown(office, "--json").out)
    (leaver,) = document["people"]
    assert (document["schema"], leaver["left"], leaver["days"]) == ("affidavit.leavers/1", LEFT.isoformat(), 30)
    assert [(one["check"], one["scope"]) for one in leaver["access"]] == [
        ("joins.aws.leavers-keys", "aws-acme"), ("joins.github.leavers", f"code-acme/{ORG}"),
        ("joins.okta.leavers", "okta-acme"),
    ]  # fmt: skip
    with office.sealed() as run:
        lines = {line["i"]: line for line in run.replies()}
        bodies = {
            one["check"]: b"".join(run.object(reply["sha256"]) for reply in one["replies"]) for one in leaver["access"]
        }
    for one in leaver["access"]:
        told_of = 0
        for reply in one["replies"]:
            line = lines[reply["i"]]
            assert (line["op"], line["sha256"]) == (reply["operation"], reply["sha256"])
            once = f"reply {reply['i']}: {reply['operation']} at {reply['received']}, sha256 {reply['sha256'][:12]}"
            assert told.out.count(once) <= 1
            told_of += once in told.out and reply["operation"] != "register:read"
        assert told_of, f"no reply of the system stands beside {one['held']}"
    assert b'"factorType": "push"' in bodies["joins.okta.leavers"] or b'"push"' in bodies["joins.okta.leavers"]
    assert GONE.encode() in bodies["joins.aws.leavers-keys"]
    assert b"ada-codes" in bodies["joins.github.leavers"]
    for body in bodies.values():
        assert b"p-1," in body, "the row of people.csv is among what is cited"

    manifest = next(office.store.glob("runs/*/manifest*"))
    manifest.write_bytes(manifest.read_bytes()[:-9])
    told = shown(office)
    assert (told.code, told.out) == (4, ""), "nothing is shown of a store that does not verify"
    assert told.err.startswith("error: the store does not verify: ")


def finding(reason: str, outcome: str = "FAIL", check: str = "joins.kubernetes.leavers") -> dict[str, Any]:
    return {"kind": "finding", "check": check, "outcome": outcome, "reason": reason, "scope": "k8s", "evidence": [1, 2]}


def sealed(*rows: dict[str, Any]) -> Any:
    replies = [
        {"i": 1, "op": "a", "received": "t", "sha256": "s" * 64, "params": {}},
        {"i": 2, "op": "b", "received": "t", "sha256": None},
        {"i": 3},
    ]
    return SimpleNamespace(number=7, results=lambda: iter(rows), replies=lambda: iter(replies))


def test_several_people_behind_one_record_are_told_apart_and_who_is_gone_longest_comes_first() -> None:
    reason = (
        "person p-1 (by address) left on 2026-05-01, 31 days ago, limit 1; a is bound; and "
        "person p-2 (declared in identities.csv) left, people.csv does not say when; b is bound; and "
        "person p-3 (by address) left on 2026-01-01, 151 days ago, limit 1; c is bound"
    )
    told = leavers(
        sealed(
            finding(reason),
            finding("person p-9 (by address) has the status active", "PASS"),
            finding("could not be read", "UNKNOWN"),
            finding("person p-8 (x) left on 2026-05-01, 31 days ago, limit 1; y", check="joins.okta.owned"),
        )
    )
    assert [(one.person, one.left, one.days) for one in told.people] == [
        ("p-3", "2026-01-01", 151), ("p-1", "2026-05-01", 31), ("p-2", "", None),
    ]  # fmt: skip
    assert [reply.i for reply in told.people[0].access[0].replies] == [1]
    text = screen(told)
    assert "p-2  left, nobody wrote when" in text
    assert "not known: joins.kubernetes.leavers in k8s: could not be read" in text


def test_who_left_by_the_status_alone_is_told_with_the_end_that_is_to_come() -> None:
    reason = "person p-4 (by address) left by its status, though its end 2026-12-22 is still to come; d is bound"
    told = leavers(sealed(finding(reason)))
    assert [(one.person, one.left, one.days, one.access[0].held) for one in told.people] == [
        ("p-4", "2026-12-22", None, "d is bound")
    ]
    assert "p-4  left by the status, though the last day 2026-12-22 is still to come" in screen(told)


def test_a_run_without_a_register_of_people_says_so() -> None:
    told = leavers(sealed(finding("no factor", check="okta.users.second-factor")))
    assert (told.people, told.asked) == ((), ())
    assert "configure a connection of kind register" in screen(told)


def test_a_finding_in_other_words_is_shown_whole_not_left_out() -> None:
    """A customer's own check may word its reason otherwise; a part of it in our words does not stand for the rest."""
    ours = "person p-1 (by address) left on 2026-05-01, 31 days ago, limit 1; a is bound"
    told = leavers(sealed(finding("somebody left"), finding(f"{ours}; and b is bound"), finding(ours)))
    assert [(one.held, [reply.i for reply in one.replies]) for one in told.otherwise] == [
        (f"{ours}; and b is bound", [1]), ("somebody left", [1]),
    ]  # fmt: skip
    assert [one.held for person in told.people for one in person.access] == ["a is bound"]
    text = screen(told)
    assert "no name, the check tells it in words of its own: joins.kubernetes.leavers\n  k8s: somebody left\n" in text
    assert f"  k8s: {ours}; and b is bound\n    reply 1: a at t, sha256 ssssssssssss\n" in text
    assert "1 person; places asked: k8s" in text
    assert told.as_row()["otherwise"][1]["held"] == "somebody left"


def test_what_is_not_known_for_one_reason_is_one_line() -> None:
    untold = "the list could not be read: there is no people.csv"
    told = leavers(
        sealed(
            *(finding(f"{untold}; seen here: PASS ({name})", "UNKNOWN") for name in "abc"),
            finding("could not be read", "UNKNOWN"),
        )
    )
    assert len(told.unknown) == 4
    last = screen(told).splitlines()[-2:]
    assert last == [
        "not known: joins.kubernetes.leavers in k8s: could not be read",
        f"not known: joins.kubernetes.leavers in k8s: {untold} (3 times)",
    ]
