"""``affidavit key new``, ``show``, ``rotate`` and ``revoke``, as a person uses them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from collector import cli
from evidence_store.keys import PublicKey, load_key_file
from evidence_store.store import Store
from evidence_store.verify import verify_store

ORIGIN = "evidence.acme.example/prod"
CONFIG = """\
version: 1
organisation: Example Ltd
store: {{path: evidence, origin: {origin}}}
key: {{file: {key}, passphrase: file:{key}.pass}}
connections: [{{name: here, kind: host}}]
"""


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """Two keys made by ``key new``, a configuration that names the first, and a store it signs."""
    monkeypatch.chdir(tmp_path)
    for name in ("first", "second"):
        secret = tmp_path / f"{name}.pass"
        secret.write_text(f"passphrase of {name}\n")
        secret.chmod(0o600)
        assert cli.main(["key", "new", name, "--secret", f"file:{secret}"]) == 0
    configure(tmp_path, "first")
    Store.create(tmp_path / "evidence", origin=ORIGIN, signer=signer(tmp_path, "first")).close()
    capsys.readouterr()
    return tmp_path


def configure(folder: Path, key: str) -> None:
    (folder / "config.yaml").write_text(CONFIG.format(origin=ORIGIN, key=key))


def signer(folder: Path, name: str):  # type: ignore[no-untyped-def]
    return load_key_file(folder / name, f"passphrase of {name}".encode())


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    assert cli.main(["key", "show", "--json", *arguments]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "affidavit.key/1"
    return dict(document)


def test_a_new_key_prints_the_fingerprint_an_auditor_pins(office: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["key", "new", "third", "--secret", f"file:{office}/first.pass"]) == 0
    said = capsys.readouterr()
    fingerprint = load_key_file(office / "third", b"passphrase of first").keyid
    assert said.out == f"key fingerprint {fingerprint}\n"
    assert (office / "third").stat().st_mode & 0o777 == 0o600
    assert "passphrase of" not in said.out + said.err
    assert cli.main(["key", "new", "third", "--secret", f"file:{office}/first.pass"]) == 2
    assert "exists" in capsys.readouterr().err
    assert cli.main(["key", "new", "fourth", "--secret", "hunter2"]) == 2
    said = capsys.readouterr()
    assert "hunter2" not in said.out + said.err
    assert not (office / "fourth").exists()


def test_show_tells_the_key_and_what_it_signed(office: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = shown(capsys)
    first = signer(office, "first")
    assert document["signer"] == {
        "fingerprint": first.keyid,
        "scheme": "ed25519",
        "verifier": document["signer"]["verifier"],  # type: ignore[index]
        "pem": first.public.pem(),
    }
    assert document["store"] == [{"fingerprint": first.keyid, "scheme": "ed25519", "fromIndex": 0}]
    assert cli.main(["key", "show"]) == 0
    text = capsys.readouterr().out
    assert first.keyid in text
    assert f"{ORIGIN}+" in text
    pem = text[text.index("-----BEGIN") : text.index("-----END PUBLIC KEY-----\n") + 25]
    assert PublicKey.from_pem(pem).fingerprint == first.keyid
    assert "signs from leaf 0" in text


def test_rotate_hands_over_and_says_what_comes_next(office: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = (office / "config.yaml").read_bytes()
    arguments = ["key", "rotate", "second", "--secret", f"file:{office}/second.pass", "--reason", "yearly"]
    assert cli.main(arguments) == 0
    said = capsys.readouterr().out
    first, second = signer(office, "first").keyid, signer(office, "second").keyid
    assert second in said
    assert "key.file: second" in said
    assert "auditor" in said
    assert (office / "config.yaml").read_bytes() == config, "the configuration is the person's own"
    assert cli.main(arguments) == 2
    error = capsys.readouterr().err
    assert f"error: key {first} no longer signs" in error
    assert f"next:  open the store with key {second}" in error
    assert cli.main(["key", "show"]) == 0
    assert "names another key than the one that signs" in capsys.readouterr().err
    configure(office, "second")
    links = shown(capsys)["store"]
    assert links == [
        {"fingerprint": first, "scheme": "ed25519", "fromIndex": 0, "retiredBy": 1},
        {"fingerprint": second, "scheme": "ed25519", "fromIndex": 2},
    ]
    for key in (first, second):
        assert verify_store(office / "evidence", key=key).ok
    assert cli.main(["verify", "evidence", "--key", first]) == 0
    assert "earlierKeys" in capsys.readouterr().out


def test_revoke_is_recorded_and_verification_says_what_it_costs(
    office: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = signer(office, "first").keyid
    revoke = ["key", "revoke", first, "--last-good-index", "0", "--reason", "laptop stolen"]
    assert cli.main(revoke) == 2
    assert "rotate to a new key first" in capsys.readouterr().err
    assert cli.main(["key", "rotate", "second", "--secret", f"file:{office}/second.pass", "--reason", "stolen"]) == 0
    configure(office, "second")
    assert cli.main(revoke) == 0
    assert "leaf 2" in capsys.readouterr().out
    assert cli.main(["key", "show"]) == 0
    assert "revoked by leaf 2: good up to leaf 0" in capsys.readouterr().out
    assert cli.main(["verify", "evidence", "--key", first]) == 4
    assert "ask the signer for the key that came after it" in capsys.readouterr().out
    assert cli.main([*revoke[:3], "--last-good-index", "5", "--reason", "x"]) == 2


def test_a_rotation_that_fails_changes_nothing(
    office: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYKCS11LIB", raising=False)
    derived = ("lock", "index.sqlite")
    files = [path for path in (office / "evidence").rglob("*") if path.is_file() and path.name not in derived]
    before = {path: path.read_bytes() for path in files}
    for new, secret, code, words in (
        ("none", f"file:{office}/second.pass", 2, "cannot read key"),
        ("second", f"file:{office}/first.pass", 2, "does not open"),
        ("second", None, 2, "passphrase of second is missing"),
        ("first", f"file:{office}/first.pass", 2, "signed this log before"),
        ("awskms:", None, 2, "names no key"),
        ("hsm:1?label=a", None, 2, "PYKCS11LIB"),
    ):
        given = ["--secret", secret] if secret else []
        assert cli.main(["key", "rotate", new, *given, "--reason", "x"]) == code
        assert words in capsys.readouterr().err
    assert before == {path: path.read_bytes() for path in before}
    assert cli.main(["key", "show", "-c", "missing.yaml"]) == 2
