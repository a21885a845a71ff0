"""A run from the command line that is stamped, witnessed and copied; and what it says when that is not possible."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from collector import clocks
from collector.clocks import PeerDates, ntp_offset_ms
from collector.model import stamp
from evidence_store.cosignature import Witness
from evidence_store.keys import load_key_file
from evidence_store.note import verifier_key
from evidence_store.store import Store
from evidence_store.verify import verify_store
from evidence_store.witness import WitnessServer, parse_logs
from tests.local_tsa import Tsa, serving
from tests.small_cloud import PASSPHRASE, Cloud, Office, affidavit, clean_environment, cloud, two_lines

ORIGIN = "small.example/log"
ONE = ("--check", "aws.iam.password-policy-*")


@pytest.fixture(scope="module")
def aws() -> Iterator[Cloud]:
    with cloud() as made:
        yield made


@pytest.fixture(scope="module")
def tsa(tmp_path_factory: pytest.TempPathFactory) -> Tsa:
    return Tsa(tmp_path_factory.mktemp("tsa") / "one")


@dataclass
class Sight:
    """An office whose runs others attest."""

    office: Office
    tsa: Tsa
    witness: Witness
    server: WitnessServer
    drop: Path

    def auditor(self, *options: str) -> list[str]:
        return [
            "verify", str(self.office.store), "--key", self.office.fingerprint, "--tsa-roots",
            str(self.office.folder / "roots.pem"), "--witness", self.witness.verifier_key(), *options,
        ]  # fmt: skip


@pytest.fixture
def sight(aws: Cloud, tsa: Tsa, tmp_path: Path) -> Iterator[Sight]:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from evidence_store.keys import FileSigner

    plain = Office(tmp_path / "office", aws.endpoint)
    origin = re.search(r"origin: (\S+)", plain.config.read_text("utf-8"))
    assert origin
    log = load_key_file(plain.folder / "signing.key", PASSPHRASE).public
    key = FileSigner(Ed25519PrivateKey.generate())
    witness = Witness("auditor.example/w1", key.public)
    server = WitnessServer(
        tmp_path / "witness", witness, key, parse_logs([verifier_key(origin[1].strip(",}"), log)]), create=True
    )
    http = server.listen("127.0.0.1", 0)
    threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
    (tmp_path / "drop").mkdir()
    (plain.folder / "roots.pem").write_bytes(tsa.roots)
    with serving(tsa) as url:
        more = (
            f"timestamps: {{authorities: [{{url: '{url}', roots: roots.pem}}]}}\n"
            f"anchors:\n  witnesses: [{{url: 'http://127.0.0.1:{http.server_port}', key: {witness.verifier_key()}}}]\n"
            f"  copies: [{{folder: {tmp_path / 'drop'}}}]\n"
        )
        yield Sight(Office(plain.folder, aws.endpoint, more=more), tsa, witness, server, tmp_path / "drop")
    http.shutdown()
    http.server_close()
    server.close()


def test_a_run_is_stamped_before_and_after_witnessed_and_copied(sight: Sight) -> None:
    said = sight.office.run(*ONE)
    assert said.code == 0, said.err
    assert "warning" not in said.err
    with sight.office.sealed(1) as run:
        opened, closed = run.opening["index"], run.closing["index"]
        assert run.closing["clock"]["peerDates"].keys() == {"min", "max"}
    found = verify_store(
        sight.office.store, key=sight.office.fingerprint, tsa_roots=sight.tsa.roots,
        witnesses=[sight.witness.verifier_key()], against=[sight.drop],
    )  # fmt: skip
    assert found.ok, found.problems
    assert found.warnings == ()
    assert [entry["checkpointSize"] for entry in found.stamps] == [opened + 1, closed + 1], "bracketed"
    assert [entry["checkpointSize"] for entry in found.cosignatures] == [closed + 1]
    assert found.leaves == closed + 2, "one leaf names them all"
    assert sight.office.run(*ONE).code == 0
    with sight.office.sealed(2) as run:
        assert run.opening["freshness"].keys() == {"tsr", "cosig"}
    said = affidavit(*sight.auditor("--against", str(sight.drop)))
    assert said.code == 0, said.out
    assert "cosigned: checkpoint" in said.out
    assert "extends: " in said.out


def test_the_report_says_who_attests_in_every_format(sight: Sight, tmp_path: Path) -> None:
    sight.office.run(*ONE)
    table = affidavit(*sight.office.command("report"))
    assert table.code == 0
    assert re.search(r"time-stamped by 127-0-0-1 at \S+Z, checkpoint 3", table.out)
    assert re.search(r"witnessed by auditor\.example/w1 at \S+Z, checkpoint 3", table.out)
    assert "no outside anchor" not in table.out
    document = json.loads(affidavit(*sight.office.command("report", "--format", "json")).out)
    assert len(document["seal"]["attested"]) == 2
    page = tmp_path / "page.html"
    affidavit(*sight.office.command("report", "--format", "html", "--output", str(page)))
    assert "witnessed by auditor.example/w1" in page.read_text("utf-8")
    bare = affidavit("report", "--store", str(sight.office.store), "--key", sight.office.fingerprint)
    assert "WARNING: no outside anchor" in bare.out, "what was not checked is not claimed"
    pinned = affidavit(
        "report", "--store", str(sight.office.store), "--key", sight.office.fingerprint,
        "--witness", sight.witness.verifier_key(), "--tsa-roots", str(sight.office.folder / "roots.pem"),
    )  # fmt: skip
    assert "witnessed by auditor.example/w1" in pinned.out


def test_nobody_answers_and_the_run_is_sealed_all_the_same(sight: Sight) -> None:
    sight.tsa.answer = "down"
    sight.drop.rmdir()
    said = sight.office.run(*ONE, "--json")
    assert said.code == 0
    assert len(said.json["unattested"]) == 3, "the authority twice, before and after; the copy once"
    assert said.err.count("warning: ") == 3
    sight.tsa.answer = "good"
    sight.drop.mkdir()
    said = affidavit("timestamp", *sight.office.command("renew"))
    assert said.code == 0
    assert "warning" not in said.err
    assert said.out.startswith("checkpoint 4 of")
    assert "3 of 3 attest it" in said.out
    assert affidavit(*sight.auditor("--against", str(sight.drop))).code == 0


def test_renewal_stamps_a_store_that_collects_nothing_any_more(sight: Sight) -> None:
    sight.office.run(*ONE)
    for _ in range(2):
        said = affidavit("timestamp", *sight.office.command("renew", "--json"))
        assert said.code == 0, said.err
    found = verify_store(sight.office.store, key=sight.office.fingerprint, tsa_roots=sight.tsa.roots)
    assert found.ok
    assert [entry["checkpointSize"] for entry in found.stamps][-2:] == [said.json["checkpointSize"] - 1, 5]
    sight.tsa.answer = "down"
    assert affidavit("timestamp", *sight.office.command("renew")).code == 3


def test_a_fork_that_a_witness_tells_of_is_an_error(sight: Sight, tmp_path: Path) -> None:
    import shutil

    sight.office.run(*ONE)
    shutil.copytree(sight.office.store, tmp_path / "kept")
    sight.office.run(*ONE)
    shutil.rmtree(sight.office.store)
    shutil.copytree(tmp_path / "kept", sight.office.store)
    said = sight.office.run(*ONE)
    assert said.code == 4
    assert "another history" in said.err or "tail was cut" in said.err
    assert sight.office.states() == ["complete"] * 2, "the run is sealed: nothing is lost by saying so"


def test_wrong_certificates_start_nothing(sight: Sight) -> None:
    (sight.office.folder / "roots.pem").write_text("no certificate")
    said = sight.office.run(*ONE)
    assert said.code == 2
    assert two_lines(said)
    (sight.office.folder / "roots.pem").unlink()
    assert sight.office.run(*ONE).code == 2
    assert not sight.office.store.exists() or not sight.office.states()


def test_nobody_named_is_nobody_asked(aws: Cloud, tmp_path: Path) -> None:
    office = Office(tmp_path / "office", aws.endpoint)
    office.run(*ONE)
    said = affidavit("timestamp", *office.command("renew"))
    assert said.code == 2
    assert "names nobody who attests" in said.err


def test_two_authorities_on_one_host_have_two_names(sight: Sight) -> None:
    from collector.config import load
    from collector.sealing import outside

    text = sight.office.config.read_text("utf-8")
    url = re.search(r"url: '(http://[^']+/)', roots", text)
    assert url
    entry = f"{{url: '{url[1]}', roots: roots.pem}}"
    sight.office.config.write_text(text.replace(entry, f"{entry}, {entry.replace(url[1], url[1] + 'second')}"), "utf-8")
    first, second = outside(load(sight.office.config)).authorities
    assert first.name == "127-0-0-1"
    assert re.fullmatch(r"127-0-0-1-[0-9a-f]{8}", second.name)


def test_the_witness_command_serves_until_it_is_told_to_stop(sight: Sight, tmp_path: Path) -> None:
    log = sight.server._logs
    origin, (key,) = next(iter(log.items()))
    secret = sight.office.folder / "passphrase"
    common = [
        "witness", "--listen", "127.0.0.1:0", "--state", str(tmp_path / "w2"), "--name", "second.example/w",
        "--key", str(sight.office.folder / "signing.key"), "--secret", f"file:{secret}",
        "--log", verifier_key(origin, key),
    ]  # fmt: skip
    assert "write for example" in affidavit(*common).err
    common[2] = "127.0.0.1:9465"
    assert "with the key of a log" in affidavit(*common, "--init").err
    from evidence_store.keys import create_key_file

    create_key_file(tmp_path / "w.key", PASSPHRASE)
    common[common.index("--key") + 1] = str(tmp_path / "w.key")
    assert "no state of a witness" in affidavit(*common).err
    common[2] = "0.0.0.0:9465"
    assert "every address" in affidavit(*common, "--init").err
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common[2] = f"127.0.0.1:{port}"
    process = subprocess.Popen(
        [sys.executable, "-m", "collector", *common, "--init"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env=clean_environment(),
    )  # fmt: skip
    try:
        assert process.stdout
        line = process.stdout.readline()
        assert line.startswith("witness key second.example/w+"), process.stderr and process.stderr.read()
        second = Witness.parse(line.removeprefix("witness key "))
        from evidence_store.cosigner import Cosigner, cosign

        sight.office.run(*ONE)
        with Store.open(sight.office.store, signer=load_key_file(sight.office.folder / "signing.key", PASSPHRASE)) as s:
            cosign(s, Cosigner(f"http://127.0.0.1:{port}", second))
            s.anchor()
        assert affidavit(*sight.auditor("--witness", second.verifier_key())).code == 0
    finally:
        process.terminate()
        process.communicate(timeout=20)
    assert process.returncode == 0


# Clocks


class _Ledger:
    def add_object(self, data: bytes, *, request: object = None) -> str:
        return "0" * 64

    def add_spans(self, body: bytes, cut: object) -> dict[str, object]:
        return {}

    def add_reply(self, line: object) -> int:
        return 7


def test_the_closing_leaf_says_how_far_the_peers_clocks_were_off() -> None:
    watched = PeerDates(_Ledger())  # type: ignore[arg-type]
    assert watched.facts()["peerDates"] == {"min": None, "max": None}
    at = datetime(2026, 2, 1, 12, 0, 0, tzinfo=UTC)
    for off in (0, 3, -40):
        date = (at + timedelta(seconds=off)).strftime("%a, %d %b %Y %H:%M:%S GMT")
        assert watched.add_reply({"date": date, "received": stamp(at)}) == 7
    for date in (None, "yesterday", "Sun, 99 Feb 2026 99:00:00 GMT", "Sun, 01 Feb 99999999999999 00:00:00 GMT", ""):
        watched.add_reply({"date": date, "received": stamp(at)})
    watched.add_reply({})
    assert watched.facts()["peerDates"] == {"min": -40, "max": 3}


def test_the_kernel_is_asked_about_its_time_server(monkeypatch: pytest.MonkeyPatch) -> None:
    found = ntp_offset_ms()
    assert found is None or abs(found) < 60_000

    class Kernel:
        state, status, offset = 0, clocks.STA_NANO, 3_400_000

        def adjtimex(self, pointer: object) -> int:
            pointer._obj.status, pointer._obj.offset = self.status, self.offset  # type: ignore[attr-defined]
            return self.state

    for state, status, offset, expected in (
        (0, clocks.STA_NANO, 3_400_000, 3), (0, 0, -2_600, -3), (clocks.TIME_ERROR, 0, 0, None),
        (0, clocks.STA_UNSYNC, 0, None), (-1, 0, 0, None),
    ):  # fmt: skip
        Kernel.state, Kernel.status, Kernel.offset = state, status, offset
        monkeypatch.setattr(clocks.ctypes, "CDLL", lambda *_, **__: Kernel())
        assert ntp_offset_ms() == expected
    monkeypatch.setattr(clocks.sys, "platform", "plan9")
    assert ntp_offset_ms() is None
