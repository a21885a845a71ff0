"""Vectors with what witnesses signed, with keys that were handed over or revoked, and with leaves wrongly signed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from evidence_store import layout
from evidence_store.bundles import build as bundle
from evidence_store.cosignature import Witness
from evidence_store.dsse import Statement
from evidence_store.heads import split_note
from evidence_store.keys import FileSigner, Signer
from evidence_store.note import Checkpoint
from evidence_store.store import Store
from tests.evidence_store.vectors.tools import (
    FEBRUARY,
    MARCH,
    NOT_VERIFIED,
    ORIGIN,
    SOME,
    VERIFIED,
    A,
    B,
    Clock,
    Vector,
    history,
    reseal,
    rewrite,
    sealed,
)

C, D = (FileSigner(Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)) for seed in (9, 10))
W, V = Witness("witness.example.org/w1", C.public), Witness("other.example.org/w2", D.public)
GIVEN = (W.verifier_key(),)
DAY = timedelta(days=1)


def cosign(store: Store, moment: datetime) -> None:
    """The witness signs the newest head."""
    text, _ = split_note(store.checkpoint)
    store.keep_cosignature(store.size, W.keyid, W.cosign(text, C, moment))


def outsiders(folder: Path, work: Path) -> Iterator[Vector]:
    """All of them."""
    yield from cosigned(folder, work)
    yield from revoked(folder, work)
    yield from forged(folder, work)


def cosigned(folder: Path, work: Path) -> Iterator[Vector]:
    """Bundles with a cosignature that a leaf names, and with one that none names yet."""
    clock = Clock(FEBRUARY)
    with history(work / "cosigned", clock) as store:
        size, text = store.size, split_note(store.checkpoint)[0]
        cosign(store, clock.time)
        sealed(store, folder / "cosigned-unnamed")
    with history(work / "named", Clock(FEBRUARY)) as store:
        cosign(store, clock.time)
        store.anchor()
        sealed(store, folder / "cosigned")
        sealed(store, folder / "cosigned.zip", how="zip")
    for name in ("cosigned", "cosigned.zip", "cosigned-unnamed"):
        yield Vector(name, VERIFIED, witnesses=GIVEN)
    where = layout.cosignature_name(size, W.keyid)

    def insider(
        name: str,
        change: Callable[[Path], object],
        result: str = NOT_VERIFIED,
        source: str = "cosigned-unnamed",
        witnesses: tuple[str, ...] = GIVEN,
    ) -> Vector:
        made = Path(shutil.copytree(folder / source, folder / name))
        change(made)
        reseal(made)
        return Vector(name, result, by=SOME, witnesses=witnesses)

    def line(name: str, content: bytes, result: str = NOT_VERIFIED, **options: str | tuple[str, ...]) -> Vector:
        return insider(name, lambda made: (made / where).write_bytes(content), result, **options)  # type: ignore[arg-type]

    moment, other = clock.time, Checkpoint(ORIGIN, size, bytes(32))
    good = W.cosign(text, C, moment)
    dated = good.replace(good.split(b" ")[2], good.split(b" ")[2][:14] + b"AA" + good.split(b" ")[2][16:])
    yield insider("cosigned-key-not-given", lambda made: None, VERIFIED, witnesses=())
    yield insider("cosigned-by-no-other", lambda made: None, witnesses=(V.verifier_key(),))
    yield insider("cosigned-by-one-of-two", lambda made: None, witnesses=(*GIVEN, V.verifier_key()))
    yield insider("cosignature-missing", lambda made: (made / where).unlink(), source="cosigned")
    yield insider(
        "cosignature-missing-key-not-given", lambda made: (made / where).unlink(), source="cosigned", witnesses=()
    )
    yield insider(
        "cosignature-and-note-missing",
        lambda made: ((made / where).unlink(), (made / layout.note_name(size)).unlink()),
        source="cosigned",
    )
    yield insider("cosignature-unnamed-and-missing", lambda made: (made / where).unlink())
    yield insider(
        "cosignature-under-another-id",
        lambda made: (made / where).rename(made / layout.cosignature_name(size, V.keyid)),
    )
    again = W.cosign(text, C, moment + DAY)
    theirs, _ = split_note((folder / "cosigned" / layout.note_name(size)).read_bytes())
    other_day = W.cosign(theirs, C, moment + DAY)
    yield insider("cosignature-replaced", lambda made: (made / where).write_bytes(other_day), source="cosigned")
    yield line("cosignature-later", again, VERIFIED)
    forgery = Witness(W.name, W.key).cosign(text, D, moment)
    yield line("cosignature-forged", forgery)
    yield line("cosignature-forged-key-not-given", forgery, VERIFIED, witnesses=())
    yield line("cosignature-over-another-tree", W.cosign(other.text(), C, moment))
    yield line("cosignature-over-another-size", W.cosign(text.replace(f"\n{size}\n", f"\n{size - 1}\n"), C, moment))
    yield line("cosignature-over-another-log", W.cosign(text.replace("acme", "evil"), C, moment))
    yield line("cosignature-dated-otherwise", dated)
    yield line("cosignature-from-the-year-19000", W.cosign(text, C, Late()))  # type: ignore[arg-type]
    yield line("cosignature-of-another-name", good.replace(b"/w1", b"/w2"))
    yield line("cosignature-twice", good + good)
    yield line("cosignature-respelt", good + b"\n")
    yield line("cosignature-empty", b"")


class Late:
    """A time that no calendar has."""

    def timestamp(self) -> int:
        return 1 << 39


def handed_over(path: Path, clock: Clock, *, seen: timedelta | None, last_good: int | None) -> Store:
    """A log whose first key was handed over on one day and revoked on the next; perhaps a witness signed, then."""
    with history(path, clock) as store:
        store.rotate(B, "planned")
    store = Store.open(path, signer=B, clock=clock)
    end = store.size - 1
    revoked_on = clock.time + DAY
    if seen is not None:
        cosign(store, revoked_on + seen)
        store.anchor()
    clock.time = revoked_on
    store.revoke(A.keyid, end if last_good is None else end + last_good if last_good > -9 else -1, "stolen")
    return store


def forced(store: Store, out: Path, signer: Signer = B) -> Path:
    """A bundle although it does not verify, which :func:`bundle.build` would refuse to hand out."""
    chosen = bundle.choose(store, FEBRUARY, MARCH)
    out.mkdir()
    bag = bundle._Bag(store, out, chosen, signer, datetime(2026, 4, 2, tzinfo=UTC), bundle.views(store, chosen))
    bag.fill(bundle.Wish("Acme", "An Auditor"), lambda run, stream, line: True, {}, None, None, None)
    return out


def revoked(folder: Path, work: Path) -> Iterator[Vector]:
    """What the first key signed counts up to the last good leaf, where a witness had seen it before the revocation."""
    early, late = timedelta(hours=-1), timedelta(hours=1)
    for name, seen, last_good, verdicts in (
        ("revoked", early, None, ((B, GIVEN, VERIFIED), (A, GIVEN, VERIFIED), (B, (), NOT_VERIFIED))),
        ("revoked-before-it-handed-over", early, -1, ((B, GIVEN, VERIFIED), (A, GIVEN, NOT_VERIFIED))),
        ("revoked-from-earlier-on", early, -4, ((B, GIVEN, NOT_VERIFIED),)),
        ("revoked-never-good", early, -9, ((B, GIVEN, NOT_VERIFIED),)),
        ("revoked-seen-too-late", late, None, ((B, GIVEN, NOT_VERIFIED),)),
        ("revoked-never-seen", None, None, ((B, (), NOT_VERIFIED),)),
    ):
        with handed_over(work / name, Clock(FEBRUARY), seen=seen, last_good=last_good) as store:
            forced(store, folder / name)
            if verdicts[0][2] == VERIFIED:
                sealed(store, work / f"{name}-built", B, witnesses=[W])
        for number, (key, witnesses, result) in enumerate(verdicts):
            place = name if not number else f"{name}-{number}"
            if number:
                shutil.copytree(folder / name, folder / place)
            yield Vector(place, result, key.keyid, SOME, witnesses)
    with handed_over(work / "twice-revoked", Clock(FEBRUARY), seen=early, last_good=None) as store:
        end = next(leaf.index for leaf in store.leaves if leaf.kind == "key-transition")
        store.revoke(A.keyid, end - 1, "worse than thought")
        forced(store, folder / "revoked-twice")
    yield Vector("revoked-twice", VERIFIED, B.keyid, SOME, GIVEN)
    for name, said in (
        ("revocation-taken-back", {"lastGoodIndex": end}),
        ("revocation-of-the-key-in-force", {"key": B.keyid}),
        ("revocation-of-a-stranger", {"key": C.keyid}),
        ("revocation-with-more", {"until": "then"}),
        ("revocation-of-what-came-later", {"lastGoodIndex": end + 1}),
        ("revocation-of-no-place", {"lastGoodIndex": "1"}),
        ("revocation-without-words", {"reason": 1}),
        ("revocation-below-nothing", {"lastGoodIndex": -2}),
    ):
        made = Path(shutil.copytree(folder / "revoked-twice", folder / name))
        rewrite(made, "key-revocation", saying(**said), B, sealer=B, last=True)
        yield Vector(name, NOT_VERIFIED, B.keyid, SOME, GIVEN)


def saying(**facts: object) -> Callable[[Statement], Statement]:
    return lambda statement: replace(statement, predicate={**statement.predicate, **facts})


def forged(folder: Path, work: Path) -> Iterator[Vector]:
    """A log that was handed over, with a leaf that another key signed than must."""
    with history(work / "handed-over", Clock(FEBRUARY)) as store:
        store.rotate(B, "planned")
    with Store.open(work / "handed-over", signer=B, clock=Clock(FEBRUARY + DAY)) as store:
        store.append("waiver", {"check": "x", "resource": "y", "until": "2026-05-01", "by": "J. Doe"})
        sealed(store, folder / "handed-over", B)
    yield Vector("handed-over", VERIFIED, B.keyid)
    same: Callable[[Statement], Statement] = lambda statement: statement  # noqa: E731
    more = saying(comment="and more")
    cases: tuple[tuple[str, str, Callable[[Statement], Statement], tuple[Signer, ...]], ...] = (
        ("retired-key-used-again", "waiver", same, (A,)),
        ("signed-by-both-keys", "waiver", same, (A, B)),
        ("signed-by-nobody", "waiver", same, ()),
        ("waiver-signed-by-a-stranger", "waiver", same, (C,)),
        ("waiver-rewritten", "waiver", saying(until="2036-05-01"), (A,)),
        ("handed-over-by-the-old-key-alone", "key-transition", same, (A,)),
        ("handed-over-by-the-new-key-alone", "key-transition", same, (B,)),
        ("handed-over-in-the-other-order", "key-transition", same, (B, A)),
        ("handed-over-with-more", "key-transition", more, (A, B)),
        ("handed-over-from-another-leaf", "key-transition", saying(fromIndex=2), (A, B)),
        (
            "handed-over-to-itself",
            "key-transition",
            saying(newKey={"scheme": "ed25519", "pem": A.public.pem()}),
            (A, A),
        ),
        (
            "handed-over-to-another-scheme",
            "key-transition",
            saying(newKey={"scheme": "ecdsa-sha2-nistp256", "pem": B.public.pem()}),
            (A, B),
        ),
    )
    for name, kind, change, signers in cases:
        made = Path(shutil.copytree(folder / "handed-over", folder / name))
        rewrite(made, kind, change, *signers, sealer=B)
        yield Vector(name, NOT_VERIFIED, B.keyid, SOME)
    made = Path(shutil.copytree(folder / "handed-over", folder / "sealed-by-a-retired-key"))
    reseal(made, A)
    yield Vector("sealed-by-a-retired-key", NOT_VERIFIED, A.keyid, SOME)
