"""Time stamps of a real authority on loopback: kept as received, named in the log, checked under its root."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from evidence_store import layout, timestamps
from evidence_store.errors import StampError, UsageError, VerificationError
from evidence_store.keys import FileSigner
from evidence_store.store import Store
from evidence_store.timestamps import Authority
from evidence_store.verify import verify_store
from tests.local_tsa import Tsa, serving

ORIGIN = "evidence.acme.example/prod"


@pytest.fixture(scope="module")
def tsa(tmp_path_factory: pytest.TempPathFactory) -> Tsa:
    return Tsa(tmp_path_factory.mktemp("tsa") / "one")


@pytest.fixture
def authority(tsa: Tsa) -> Iterator[Authority]:
    with serving(tsa) as url:
        yield Authority("local", url, tsa.roots)


def collect(store: Store) -> None:
    run = store.begin({}, b"{}")
    run.add_reply({"sha256": run.add_object(b"body")})
    run.close([], {})


def test_a_stamped_store_verifies_and_knows_its_time(ram: Path, signer: FileSigner, authority: Authority) -> None:
    with Store.create(ram / "s", origin=ORIGIN, signer=signer, policy={"timestamp": {"required": True}}) as store:
        collect(store)
        assert not verify_store(ram / "s", key=signer.keyid, tsa_roots=authority.roots).ok, "the policy demands a stamp"
        assert timestamps.stamp(store, [authority]) == []
        token = ram / "s" / layout.token_name(3, "local")
        assert token.is_file()
        assert timestamps.stamp(store, [authority]) == [], "the anchor leaf itself can be stamped"
    found = verify_store(ram / "s", key=signer.keyid, tsa_roots=authority.roots)
    assert found.ok, found.problems
    assert {s["checkpointSize"] for s in found.stamps} == {3, 4}
    assert {s["authority"] for s in found.stamps} == {"local"}
    assert found.stamps[0]["by"] == "rfc3161-client"
    assert not any("anchor" in warning for warning in found.warnings)
    bare = verify_store(ram / "s", key=signer.keyid)
    assert any("no roots were given" in warning for warning in bare.warnings)
    assert not bare.ok, "a demanded stamp that was not checked is not one"
    done = subprocess.run(
        ["openssl", "ts", "-verify", "-data", ram / "s" / layout.note_name(3), "-in", token, "-CAfile", "/dev/stdin"],
        input=authority.roots, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, "openssl agrees without us"


def test_p10_a_deleted_or_altered_token_is_named(ram: Path, signer: FileSigner, authority: Authority) -> None:
    with Store.create(ram / "s", origin=ORIGIN, signer=signer) as store:
        collect(store)
        timestamps.stamp(store, [authority])
    name = layout.token_name(3, "local")
    token = ram / "s" / name
    good = token.read_bytes()
    for place in range(0, len(good), 7):
        altered = bytearray(good)
        altered[place] ^= 1
        token.write_bytes(altered)
        found = verify_store(ram / "s", key=signer.keyid)
        assert not found.ok
        assert name in {problem.path for problem in found.problems}
    token.unlink()
    found = verify_store(ram / "s", key=signer.keyid, tsa_roots=authority.roots)
    assert [problem.path for problem in found.problems] == [name]
    token.write_bytes(good)
    (ram / "s" / layout.token_name(2, "local")).write_bytes(good)
    found = verify_store(ram / "s", key=signer.keyid)
    assert [problem.path for problem in found.problems] == [layout.token_name(2, "local")], (
        "a token of another checkpoint"
    )
    found = verify_store(ram / "s", key=signer.keyid, tsa_roots=authority.roots)
    assert layout.token_name(2, "local") in {problem.path for problem in found.problems}


@pytest.mark.parametrize("answer", ["down", "page", "long", "empty", "replay"])
def test_an_authority_that_fails_loses_nothing(
    ram: Path, signer: FileSigner, authority: Authority, tsa: Tsa, answer: str
) -> None:
    with Store.create(ram / "s", origin=ORIGIN, signer=signer) as store:
        collect(store)
        timestamps.ask(authority, b"something else")
        tsa.answer = answer
        errors = timestamps.stamp(store, [authority])
        assert [type(error) for error in errors] == [StampError]
        assert "local" in errors[0].what
        assert not list((ram / "s").rglob("*.tsr"))
        collect(store)
        tsa.answer = "good"
        assert timestamps.stamp(store, [authority]) == []
    assert verify_store(ram / "s", key=signer.keyid, tsa_roots=authority.roots).ok


def test_a_certificate_chain_the_library_refuses_is_checked_by_openssl(
    authority: Authority, tsa: Tsa, monkeypatch: pytest.MonkeyPatch
) -> None:
    tsa.include("certs = ca.pem")
    try:
        reply = timestamps.ask(authority, b"data")
    finally:
        tsa.include("")
    found = timestamps.check_token(reply, b"data", tsa.roots)
    assert found.checked_by == "openssl"
    assert abs(found.time - datetime.now(UTC)) < timedelta(minutes=5)
    assert timestamps.read_imprint(reply) == hashlib.sha256(b"data").digest()
    with pytest.raises(VerificationError):
        timestamps.check_token(reply, b"other", tsa.roots)
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(VerificationError):
        timestamps.check_token(reply, b"data", tsa.roots)
    assert timestamps.read_imprint(reply) is None


def test_a_token_under_another_root_or_for_other_data_is_refused(
    authority: Authority, tsa: Tsa, tmp_path: Path
) -> None:
    other = Tsa(tmp_path / "other")
    reply = timestamps.ask(authority, b"data")
    for roots, data in ((other.roots, b"data"), (tsa.roots, b"date"), (b"", b"data"), (b"junk", b"data")):
        with pytest.raises(VerificationError):
            timestamps.check_token(reply, data, roots)
    assert timestamps.read_imprint(b"junk") is None


def test_no_flipped_bit_changes_what_a_token_says(authority: Authority, tsa: Tsa) -> None:
    """Some bits lie outside the authority's signature; flipping them may pass but must mean nothing."""
    reply = timestamps.ask(authority, b"data")
    good = timestamps.check_token(reply, b"data", tsa.roots)
    accepted = 0
    for place in range(0, len(reply), 29):
        altered = bytearray(reply)
        altered[place] ^= 1
        try:
            assert timestamps.check_token(bytes(altered), b"data", tsa.roots).time == good.time
            accepted += 1
        except VerificationError:
            pass
    assert accepted <= 3


def test_back_dating_and_late_stamping_are_named(ram: Path, signer: FileSigner, authority: Authority) -> None:
    for name, shift, limit, message in (
        ("early", timedelta(days=-3), 24.0, "after the time it claims"),
        ("late", timedelta(days=3), 24.0, "after the stamp that covers it"),
        ("now", timedelta(), 24.0, ""),
        ("patient", timedelta(days=-3), 100.0, ""),
    ):
        with Store.create(
            ram / name, origin=ORIGIN, signer=signer, clock=lambda shift=shift: datetime.now(UTC) + shift
        ) as store:
            collect(store)
            timestamps.stamp(store, [authority])
        found = verify_store(ram / name, key=signer.keyid, tsa_roots=authority.roots, max_stamp_lag_h=limit)
        assert found.ok == (not message), found.problems
        assert all(p.path == "runs/00000001" and message in p.what for p in found.problems)
    with Store.create(
        ram / "strict", origin=ORIGIN, signer=signer, policy={"timestamp": {"maxLagHours": 1}},
        clock=lambda: datetime.now(UTC) - timedelta(hours=2),
    ) as store:  # fmt: skip
        collect(store)
        timestamps.stamp(store, [authority])
    assert not verify_store(ram / "strict", key=signer.keyid, tsa_roots=authority.roots).ok, "the policy is stricter"


def test_a_clock_that_goes_back_is_a_warning(ram: Path, signer: FileSigner) -> None:
    times = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=h) for h in (0, 0, 5, 1, 2, 3)]
    with Store.create(ram / "s", origin=ORIGIN, signer=signer, clock=lambda: times.pop(0)) as store:
        store.append("waiver", {"id": "W-1"})
        store.append("waiver", {"id": "W-2"})
    assert any("clock went back" in warning for warning in verify_store(ram / "s", key=signer.keyid).warnings)


def test_a_token_that_was_kept_but_not_yet_named_is_named_by_the_next_run(
    ram: Path, signer: FileSigner, authority: Authority
) -> None:
    with Store.create(ram / "s", origin=ORIGIN, signer=signer) as store:
        collect(store)
        (ram / "s" / layout.token_name(3, "local")).write_bytes(timestamps.ask(authority, store.checkpoint))
        found = verify_store(ram / "s", key=signer.keyid, tsa_roots=authority.roots)
        assert found.ok
        assert any("not named in the log yet" in warning for warning in found.warnings)
        collect(store)
    (ram / "s" / layout.token_name(3, "local")).unlink()
    assert not verify_store(ram / "s", key=signer.keyid).ok


def test_wrong_use_is_named(ram: Path, signer: FileSigner) -> None:
    with pytest.raises(UsageError, match="http"):
        timestamps.ask(Authority("x", "file:///etc/passwd", b""), b"data")
    with Store.create(ram / "s", origin=ORIGIN, signer=signer) as store:
        with pytest.raises(UsageError, match="authority"):
            store.keep_token(1, "../evil", b"x")
        with pytest.raises(UsageError, match="cannot be kept"):
            store.keep_token(7, "local", b"x")
