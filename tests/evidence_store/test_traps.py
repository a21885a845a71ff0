"""Traps that others fell into, and we in prototypes: each has a test, and ``TRAPS`` says where.

A trap is a way in which ordinary tools do something else than one thinks, and nothing fails until it matters.
"""

from __future__ import annotations

import copy
import random
import re
import shutil
import struct
import time
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from test_store_crash import (
    Model,
    TracedDisk,
    check_promises,
    choices,
    interrupted,
    kept,
    model,  # noqa: F401 - a fixture
    promised_by,
    session,
    start,  # noqa: F401 - a fixture
)

from evidence_store import layout, log, pack, timestamps
from evidence_store.errors import VerificationError
from evidence_store.keys import FileSigner
from evidence_store.store import Store
from evidence_store.timestamps import Authority
from evidence_store.verify import verify_store
from tests.local_tsa import Tsa, serving

HERE = Path(__file__).parent
TRAPS = dict(
    re.findall(
        r"^(\S.*)\n {4}(\S+::.+)$",
        """
PKCS#8 by the library has 2,048 rounds
    test_store_keys.py::test_p16_an_unencrypted_or_weakly_encrypted_key_is_refused
certificate SET that is not DER-sorted
    test_store_timestamps.py::test_a_certificate_chain_the_library_refuses_is_checked_by_openssl
tail of zeros parses as an empty frame
    test_traps.py::test_trap_a_tail_of_zeros_is_no_frame
... in lines and packs
    test_store_crash.py::test_recovery_keeps_what_is_whole_and_counts_what_is_not
page cache that was never synced is adopted
    test_traps.py::test_trap_what_a_killed_process_left_in_the_page_cache_is_synced_before_it_is_signed
frame that states its size unpacks past the limit
    test_store_pack.py::test_a_bomb_unpacks_no_further_than_its_header_says
... in archives
    test_bundle_fuzz.py::test_bombs_cost_little
base64 that is not canonical
    test_store_envelopes.py::test_base64_has_one_spelling
... in the browser
    js/core.test.mjs::base64 has one spelling
ECDSA signs otherwise each time
    test_key_p256.py::test_a_size_that_has_a_checkpoint_is_never_signed_again
... over a power cut
    test_key_p256.py::test_p256_keeps_every_promise_over_a_power_cut
ECDSA has a twin with the higher s
    test_key_p256.py::test_the_other_signature_that_ecdsa_accepts_is_refused
other spelling of the same envelope
    test_store_envelopes.py::test_another_spelling_of_the_same_envelope_is_refused
JSON parsers keep the last of two names
    test_store_envelopes.py::test_duplicate_names_and_deep_nesting_are_refused
... in the browser, however it is spelt
    js/core.test.mjs::a name that occurs twice in an object is refused, however it is spelt
KMS signs at most 4,096 bytes
    test_store_envelopes.py::test_what_cannot_be_signed_says_so
an emulator hashes a digest again
    test_key_signers.py::test_moto_hashes_a_digest_again_which_is_why_raw_mode_is_asked_for
status GRANTED_WITH_MODS
    test_traps.py::test_trap_a_token_granted_with_changes_is_read
authority whose certificate has expired since
    test_traps.py::test_trap_a_token_outlives_the_certificate_that_made_it
library looks at no revocation list
    test_anchor_times.py::test_a_certificate_revoked_before_it_stamped_is_named
token bytes outside its signature
    test_store_timestamps.py::test_no_flipped_bit_changes_what_a_token_says
outermost token is deleted
    test_bundle_tamper.py::test_p10_a_deleted_time_stamp_is_missed_and_an_altered_one_named
queue of stamps is lost in a crash
    test_anchor_times.py::test_the_queue_is_read_off_the_files_so_a_crash_cannot_lose_it
witness answers before it remembers
    test_witness_protocol.py::test_it_remembers_before_it_answers_and_across_a_restart
one damaged key frame costs thirty versions
    test_store_runs.py::test_a_damaged_earlier_body_is_kept_again_rather_than_trusted
erasure under a chain of differences
    test_erase.py::test_an_erased_body_is_gone_and_the_store_verifies
list in another order each time
    test_store_unordered.py::test_a_list_in_another_order_costs_a_fraction_and_comes_back_byte_for_byte
digest of a body gives a guessable field away
    test_spans.py::test_a_redacted_run_shows_neither_body_nor_digest_nor_what_spells_a_field
key taken from inside the bundle
    test_verify_html.py::test_a_bundle_verifies_without_a_key_only_as_consistent_and_not_with_another
exceptions of parsers escape
    test_store_fuzz.py::test_no_change_passes_and_nothing_but_our_errors_escapes
published before it is durable
    test_store_crash.py::test_the_model_notices_a_forgotten_sync
wall clock that goes back
    test_store_timestamps.py::test_a_clock_that_goes_back_is_a_warning
""",
        re.MULTILINE,
    )
)


@pytest.mark.parametrize("trap", TRAPS, ids=lambda trap: re.sub(r"\W+", "-", trap).strip("-"))
def test_the_test_of_a_trap_is_where_it_is_said_to_be(trap: str) -> None:
    file, _, name = TRAPS[trap].partition("::")
    source = (HERE / file).read_text("utf8")
    assert f"\ndef {name}(" in source or f'\ntest("{name}"' in source


def test_the_threat_model_names_tests_and_vectors_that_are_there() -> None:
    text = (HERE.parents[1] / "docs/threat-model.md").read_text("utf8")
    named = re.findall(r"`(test_\w+\.py)(?:::(test_\w+))?`", text)
    assert len(named) > 20
    for file, name in named:
        assert f"\ndef {name}" in (HERE / file).read_text("utf8"), (file, name)
    vectors = "".join((HERE / "vectors" / file).read_text("utf8") for file in ("make.py", "outsiders.py", "damage.py"))
    patterns = re.findall(r"`([a-z]+(?:-[a-z]+)*-?)(\*?)`", " ".join(re.findall(r"vectors ([^|]*)", text)))
    assert len(patterns) > 3
    for begin, star in patterns:
        assert f'"{begin}' in vectors if star else f'"{begin}"' in vectors, begin


def test_trap_a_tail_of_zeros_is_no_frame(start: Path, signer: FileSigner) -> None:  # noqa: F811
    """Length 0 with crc32(b"") = 0 would be a valid frame of nothing: the CRC is seeded, and no length is zero."""
    whole = (start / layout.ENTRIES).read_bytes()
    (end, leaf), *more = log.frames(whole)
    assert (end, more) == (len(whole), [])
    for zeros in (1, 7, 8, 9, 16, 4096, 70_000):
        assert list(log.frames(whole + bytes(zeros))) == [(end, leaf)]
        assert list(log.frames(bytes(zeros))) == []
    assert list(log.frames(struct.pack(">II", 0, zlib.crc32(b"", log.CRC_SEED)))) == []
    assert list(log.frames(struct.pack(">II", len(leaf), zlib.crc32(leaf)) + leaf)) == [], "a CRC without the seed"
    for zeros in (8, 4096):
        (start / layout.ENTRIES).write_bytes(whole + bytes(zeros))
        Store.open(start, signer=signer).close()
        assert (start / layout.ENTRIES).read_bytes() == whole
    assert verify_store(start, key=signer.keyid).ok
    interrupted(start, signer)
    spooled = start / layout.spool_name(1) / layout.PACK
    good = spooled.read_bytes()
    spooled.write_bytes(good + bytes(4096))
    with spooled.open("rb") as file, pytest.raises(ValueError, match="frame"):
        list(pack.scan(file, len(good) + 4096))
    Store.open(start, signer=signer).close()
    assert (start / layout.run_name(1) / layout.PACK).read_bytes() == good


def killed_then_cut(live: Model, trace: list, signer: FileSigner, ram: Path, promises: list, skip: str = "") -> int:
    """After each operation the process is killed, another recovers, and then the power is cut; the states are counted.

    What the first process wrote and never synced is still readable by the second: it is in the page cache, and nowhere
    else. Where ``skip`` is given, recovery forgets to sync what is named so.
    """
    dice, states = random.Random(4), 0
    for done in range(len(trace) + 1):
        if done:
            live.apply(trace[done - 1])
        build, again = ram / "killed", ram / "again"
        live.settle(build, kept, kept)
        disk = TracedDisk()
        Store.open(build / "store", signer=signer, disk=disk).close()
        size = Store.open(build / "store").size
        cut = copy.deepcopy(live)
        cut.base = build
        for operation in disk.trace:
            if not (operation[0].startswith("sync") and skip and str(operation[1]).endswith(skip)):
                cut.apply(operation)
        for variant, (data, names) in enumerate(choices(dice)):
            if variant and dice.random() > 0.3:
                continue
            cut.settle(again, data, names)
            check_promises(again / "store", signer, promised_by(promises, done))
            assert Store.open(again / "store").size >= size, "a checkpoint that recovery published is gone"
            shutil.rmtree(again)
            states += 1
        shutil.rmtree(build)
    return states


def test_trap_what_a_killed_process_left_in_the_page_cache_is_synced_before_it_is_signed(
    start: Path, model: Model, signer: FileSigner, ram: Path  # noqa: F811
) -> None:  # fmt: skip
    trace, promises = session(start, signer)
    assert killed_then_cut(model, trace, signer, ram, promises) > 300


@pytest.mark.parametrize(
    "forgotten", ["log/entries", "log/checkpoints", "store/runs", "objects.pack", "manifest.ndjson.zst"]
)
def test_trap_a_sync_that_recovery_forgets_is_noticed(
    start: Path, model: Model, signer: FileSigner, ram: Path, forgotten: str  # noqa: F811
) -> None:  # fmt: skip
    trace, promises = session(start, signer)
    with pytest.raises((AssertionError, FileNotFoundError)):
        killed_then_cut(model, trace, signer, ram, promises, forgotten)


# ------------------------------------------------------------------------------------------------------- time stamps


@pytest.fixture
def tsa(tmp_path: Path) -> Tsa:
    return Tsa(tmp_path / "tsa")


def certify(tsa: Tsa, start: datetime, end: datetime) -> None:  # noqa: F811
    """The authority stamps with a certificate of these days from now on."""
    issuer = x509.load_pem_x509_certificate(tsa.roots)
    key = serialization.load_pem_private_key((tsa.folder / "ca.key").read_bytes(), None)
    own = serialization.load_pem_private_key((tsa.folder / "tsa.key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert isinstance(own, ec.EllipticCurvePrivateKey)
    usage = dict.fromkeys(
        ("key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign", "crl_sign", "content_commitment",
         "encipher_only", "decipher_only"), False,
    )  # fmt: skip
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Stamps")]))
        .issuer_name(issuer.subject)
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(digital_signature=True, **usage), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    (tsa.folder / "tsa.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))


def test_trap_a_token_outlives_the_certificate_that_made_it(tsa: Tsa, monkeypatch: pytest.MonkeyPatch) -> None:
    """``openssl ts -verify`` looks at the day of today unless it is told the day of the token."""
    issued, ends = datetime.now(UTC) - timedelta(hours=1), datetime.now(UTC) + timedelta(seconds=2)
    certify(tsa, issued, ends)
    with serving(tsa) as url:
        reply = timestamps.ask(Authority("local", url, tsa.roots), b"data")
        made = timestamps.check_token(reply, b"data", tsa.roots)
        while datetime.now(UTC) < ends + timedelta(seconds=1):
            time.sleep(0.1)
        assert made.time <= ends
        assert timestamps.check_token(reply, b"data", tsa.roots) == made, "the library judges at the token's time"

        def refuses(data: bytes) -> None:
            raise ValueError("the library is not asked")

        with monkeypatch.context() as patch:
            patch.setattr(timestamps, "decode_timestamp_response", refuses)
            assert timestamps.check_token(reply, b"data", tsa.roots).checked_by == "openssl", "and so does openssl"
        with pytest.raises(timestamps.StampError):  # stamped after its end
            timestamps.ask(Authority("local", url, tsa.roots), b"data")


def test_trap_a_token_granted_with_changes_is_read(tsa: Tsa) -> None:
    """The library knows only GRANTED. The status is no part of what the authority signed, and openssl reads both."""
    with serving(tsa) as url:
        reply = timestamps.ask(Authority("local", url, tsa.roots), b"data")
    place = reply.index(b"\x30\x03\x02\x01\x00") + 4
    assert place < 10
    changed, refused = (reply[:place] + bytes([status]) + reply[place + 1 :] for status in (1, 2))
    assert timestamps.check_token(changed, b"data", tsa.roots).checked_by == "openssl"
    for token, data in ((changed, b"other"), (refused, b"data")):
        with pytest.raises(VerificationError):
            timestamps.check_token(token, data, tsa.roots)
