"""Stamps of a real authority: queue, chain, revocation, replay; and what a run names as held when it began."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from evidence_store import layout, timestamps
from evidence_store.errors import StampError, UsageError, VerificationError
from evidence_store.keys import FileSigner
from evidence_store.revocation import issued, load_chain, revoked
from evidence_store.store import Store
from evidence_store.timestamps import Authority, waiting
from evidence_store.tokens import chain_paths, token_digests
from evidence_store.verify import verify_store
from tests.local_tsa import Tsa, openssl, serving

ORIGIN = "evidence.acme.example/prod"


@pytest.fixture(scope="module")
def tsa(tmp_path_factory: pytest.TempPathFactory) -> Tsa:
    return Tsa(tmp_path_factory.mktemp("tsa") / "one")


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Tsa:
    """An authority whose certificate an intermediate issued; its tokens do not carry the intermediate."""
    made = Tsa(tmp_path_factory.mktemp("tsa") / "deep")
    make = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -config c.cnf"
    openssl(
        made.folder,
        f"{make} -extensions intermediate -subj /CN=Middle -keyout middle.key -out middle.pem -CA ca.pem -CAkey ca.key",
    )
    openssl(
        made.folder,
        f"{make} -extensions tsa -subj /CN=Stamps -keyout tsa.key -out tsa.pem -CA middle.pem -CAkey middle.key",
    )
    return made


@pytest.fixture
def authority(tsa: Tsa) -> Iterator[Authority]:
    with serving(tsa) as url:
        yield Authority("local", url, tsa.roots)


def collect(store: Store) -> None:
    run = store.begin({}, b"{}")
    run.add_reply({"sha256": run.add_object(b"body")})
    run.close([], {})


def test_runs_an_authority_missed_are_stamped_newest_first(
    ram: Path, signer: FileSigner, authority: Authority, tsa: Tsa
) -> None:
    with Store.create(ram / "s", origin=ORIGIN, signer=signer) as store:
        collect(store)
        assert timestamps.stamp(store, [authority]) == []
        tsa.answer = "down"
        for _ in range(3):
            collect(store)
            assert len(timestamps.stamp(store, [authority])) == 1
        queue = waiting(store, "local")
        assert queue == sorted(queue, reverse=True)
        assert len(queue) == 3, "the newest, which is the third run, and the two runs before it"
        assert queue[0] == store.size
        found = verify_store(ram / "s", key=signer.keyid, tsa_roots=tsa.roots)
        assert found.ok, "a late stamp is no problem while the lag policy does not say so"
        assert any("runs 2 to 4 are covered by no outside anchor" in warning for warning in found.warnings)
        tsa.answer = "good"
        order: list[int] = []
        keep = store.keep_token
        store.keep_token = lambda size, *rest, **more: (order.append(size), keep(size, *rest, **more))[1]  # type: ignore[method-assign]
        assert timestamps.stamp(store, [authority]) == []
        assert order == queue
        assert waiting(store, "local") == [store.size], "only the leaf that names them is not stamped"
    assert verify_store(ram / "s", key=signer.keyid, tsa_roots=tsa.roots).ok


def test_the_queue_is_read_off_the_files_so_a_crash_cannot_lose_it(
    ram: Path, signer: FileSigner, authority: Authority
) -> None:
    with Store.create(ram / "s", origin=ORIGIN, signer=signer) as store:
        collect(store)
        before = waiting(store, "local")
    with Store.open(ram / "s", signer=signer) as store:
        assert waiting(store, "local") == before
        assert timestamps.stamp(store, [authority], name_them=False) == []
        assert token_digests(ram / "s").keys() == {(3, "local")}
    with Store.open(ram / "s", signer=signer) as store:
        collect(store)
    (ram / "s" / layout.token_name(3, "local")).unlink()
    assert not verify_store(ram / "s", key=signer.keyid).ok, "the next run had named it"


def test_a_policy_demands_stamps_within_its_hours(ram: Path, signer: FileSigner, authority: Authority) -> None:
    policy = {"timestamp": {"maxLagHours": 24}}
    for name, age, ok in (("young", timedelta(), True), ("old", timedelta(days=2), False)):
        with Store.create(
            ram / name, origin=ORIGIN, signer=signer, policy=policy, clock=lambda age=age: datetime.now(UTC) - age
        ) as store:
            collect(store)
        found = verify_store(ram / name, key=signer.keyid, tsa_roots=authority.roots)
        assert found.ok is ok, found.problems
        assert all("no time stamp covers it" in problem.what for problem in found.problems)


def test_a_reply_to_another_request_is_refused_even_over_the_same_bytes(authority: Authority, tsa: Tsa) -> None:
    timestamps.ask(authority, b"data")
    tsa.answer = "replay"
    with pytest.raises(StampError, match="another request"):
        timestamps.ask(authority, b"data")


def test_chain_and_revocation_list_are_kept_once_named_and_used(ram: Path, signer: FileSigner, deep: Tsa) -> None:
    deep.files = {"/list": deep.crl(ca="middle")}
    with serving(deep) as url:
        chain = (deep.folder / "middle.pem").read_bytes()
        bare = Authority("deep", url, deep.roots)
        with pytest.raises(StampError, match="no usable token"):
            timestamps.ask(bare, b"data")
        full = Authority("deep", url, deep.roots, chain, f"{url}list")
        with Store.create(ram / "s", origin=ORIGIN, signer=signer) as store:
            for _ in range(2):
                collect(store)
                assert timestamps.stamp(store, [full]) == []
            missing = Authority("deep", url, deep.roots, chain, f"{url}gone")
            collect(store)
            assert "revocation list" in timestamps.stamp(store, [missing])[0].what
    names = chain_paths(ram / "s")
    assert sorted(name.partition(".")[2] for name in names) == ["chain.pem", "crl"], "each once"
    found = verify_store(ram / "s", key=signer.keyid, tsa_roots=deep.roots)
    assert found.ok, found.problems
    assert len(found.stamps) >= 3
    for name in names:
        content = (ram / "s" / name).read_bytes()
        (ram / "s" / name).unlink()
        assert name in {problem.path for problem in verify_store(ram / "s", key=signer.keyid).problems}
        (ram / "s" / name).write_bytes(content[:-2] + b"x\n")
        assert name in {problem.path for problem in verify_store(ram / "s", key=signer.keyid).problems}
        (ram / "s" / name).write_bytes(content)
    assert verify_store(ram / "s", key=signer.keyid, tsa_roots=deep.roots).ok


def test_a_certificate_revoked_before_it_stamped_is_named(
    ram: Path, signer: FileSigner, tmp_path: Path
) -> None:
    tsa = Tsa(tmp_path / "tsa")
    good, bad = tsa.crl(), tsa.crl(revoked=True)
    for name, crl, ok in (("good", good, True), ("bad", bad, False)):
        tsa.files = {"/list": crl}
        with serving(tsa) as url, Store.create(ram / name, origin=ORIGIN, signer=signer) as store:
            collect(store)
            assert timestamps.stamp(store, [Authority("local", url, tsa.roots, b"", f"{url}list")]) == []
        found = verify_store(ram / name, key=signer.keyid, tsa_roots=tsa.roots)
        assert found.ok is ok, found.problems
        assert all("was revoked on" in problem.what for problem in found.problems)
    other = Tsa(tmp_path / "other")
    issuers = load_chain(tsa.roots)
    assert revoked(issuers, [bad])
    for junk in (other.crl(revoked=True), b"junk", bad[:-80]):
        with pytest.raises(VerificationError):
            revoked(issuers, [junk])


def test_a_chain_from_the_store_is_never_trusted_for_itself(
    authority: Authority, tsa: Tsa, deep: Tsa, tmp_path: Path
) -> None:
    """A verifier that trusts what it is given as intermediate would accept the attacker's own root."""
    stranger = Tsa(tmp_path / "stranger")
    with serving(stranger) as url:
        reply = timestamps.ask(Authority("x", url, stranger.roots), b"data")
    for chain in (stranger.roots, stranger.roots + tsa.roots, (stranger.folder / "tsa.pem").read_bytes()):
        with pytest.raises(VerificationError):
            timestamps.check_token(reply, b"data", tsa.roots, chain)
    middle = load_chain((deep.folder / "middle.pem").read_bytes())
    leaf = load_chain((deep.folder / "tsa.pem").read_bytes())
    assert issued(load_chain(deep.roots), [*leaf, *middle, *load_chain(stranger.roots)]) == middle
    assert issued(load_chain(tsa.roots), middle) == []
    assert isinstance(middle[0], x509.Certificate)


def test_what_a_run_names_as_held_bounds_its_time_from_below(
    ram: Path, signer: FileSigner, authority: Authority
) -> None:
    now = [datetime.now(UTC)]
    with Store.create(ram / "s", origin=ORIGIN, signer=signer, clock=lambda: now[0]) as store:
        collect(store)
        assert "freshness" not in store.run(1).opening
        timestamps.stamp(store, [authority])
        collect(store)
        digest = token_digests(ram / "s")[3, "local"]
        assert store.run(2).opening["freshness"] == {"tsr": digest}
        timestamps.stamp(store, [authority])
    assert verify_store(ram / "s", key=signer.keyid, tsa_roots=authority.roots).ok
    shutil.copytree(ram / "s", ram / "dated")
    with Store.open(ram / "dated", signer=signer, clock=lambda: now[0] - timedelta(days=3)) as store:
        collect(store)
        timestamps.stamp(store, [authority])
    found = verify_store(ram / "dated", key=signer.keyid, tsa_roots=authority.roots, max_stamp_lag_h=1000)
    assert [problem.path for problem in found.problems] == ["runs/00000003"], "patient about lag, and still caught"
    assert "to have begun" in found.problems[0].what
    with pytest.raises(UsageError, match="freshness"):
        Store.open(ram / "s", signer=signer).begin({"freshness": {}}, b"{}")


def test_a_token_a_run_names_and_nobody_holds_is_a_problem(
    ram: Path, signer: FileSigner, authority: Authority
) -> None:
    with Store.create(ram / "s", origin=ORIGIN, signer=signer) as store:
        collect(store)
        (ram / "s" / layout.token_name(3, "local")).write_bytes(timestamps.ask(authority, store.checkpoint))
        store._log.append("run-open", {"run": 2, "freshness": {"tsr": "0" * 64}}, {"plan.json": "0" * 64})  # type: ignore[union-attr]
    found = verify_store(ram / "s", key=signer.keyid)
    assert any("began after" in problem.what for problem in found.problems)


@pytest.mark.parametrize("named", [[], {}, [[]], None, 5, "x"])
def test_what_a_run_names_in_place_of_a_token_is_a_problem(ram: Path, signer: FileSigner, named: object) -> None:
    with Store.create(ram / "s", origin=ORIGIN, signer=signer) as store:
        store._log.append("run-open", {"run": 1, "freshness": {"tsr": named}}, {"plan.json": "0" * 64})  # type: ignore[union-attr]
    found = verify_store(ram / "s", key=signer.keyid)
    assert any("began after" in problem.what for problem in found.problems)


def test_wrong_chains_are_refused(ram: Path, signer: FileSigner) -> None:
    with Store.create(ram / "s", origin=ORIGIN, signer=signer) as store:
        for data in (b"", b"x" * (1 << 21)):
            with pytest.raises(UsageError, match="cannot be a chain"):
                store.keep_chain(data)
        with pytest.raises(UsageError, match="key id"):
            store.keep_cosignature(1, "../../up", b"x")
        with pytest.raises(UsageError, match="cannot be kept"):
            store.keep_cosignature(9, "00000000", b"x")


def test_what_a_token_lacks_is_told_in_words(tmp_path: Path) -> None:
    """Not as OpenSSL's stack of errors."""
    tsa, other = Tsa(tmp_path / "tsa"), Tsa(tmp_path / "other")
    with serving(tsa) as url:
        reply = timestamps.ask(Authority("local", url, tsa.roots), b"data")
    altered = reply[:-1] + bytes([reply[-1] ^ 1])
    for given, data, roots, words, step in (
        (reply, b"data", other.roots, "under the roots that were given: unable to get local issuer", "give the root"),
        (reply, b"date", tsa.roots, "it is over other bytes", "ask the authority again"),
        (b"junk", b"data", tsa.roots, "no time-stamp reply that can be read", "ask the authority again"),
        (altered, b"data", tsa.roots, "signature failure", "ask the authority again"),
    ):
        with pytest.raises(VerificationError) as failed:
            timestamps.check_token(given, data, roots)
        assert words in failed.value.what
        assert failed.value.next_step.startswith(step)
        assert not re.search("ErrorStack|ParseError|code: |[.]c\"", failed.value.what)
