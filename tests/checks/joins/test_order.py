"""No order of rows decides whose an account is, who approved what, or what a check says of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from collector.api import Table, Unavailable, instant
from collector.model import record
from collector.registers import facts
from collector.registers.matching import ANYTHING, Owner, approved, names_of, no_leaver, owned, owner, who_left
from collector.registers.shape import shape

AS_OF = instant("2026-06-01T00:00:00Z")
SYSTEM = ("code-acme", "github")
ADDRESSES = (None, "a@example.org", "b@example.org", "A@example.org")
ENDS = (None, "2026-01-01", "2026-05-31", "2026-12-22")
PERSON = st.builds(
    lambda email, status, end: {"email": email, "status": status, "start": "2020-01-01", "end": end},
    st.sampled_from(ADDRESSES), st.sampled_from(("active", "leave", "planned", "left")), st.sampled_from(ENDS),
)  # fmt: skip
PEOPLE = st.lists(PERSON, max_size=4).map(lambda some: [{"id": f"p-{n}", **one} for n, one in enumerate(some)])
WHO = st.sampled_from(("p-0", "P-1", "p-2", "p-9", "a@example.org", "b@example.org"))
CLAIMS = st.lists(
    st.builds(
        lambda who, system, account: {"person": who, "system": system, "account": account},
        WHO, st.sampled_from(("github", "code-acme", "GitHub", "code-test")), st.sampled_from(("ops", "OPS", "dev")),
    ),
    max_size=4,
)  # fmt: skip
REQUESTS = st.lists(
    st.builds(
        lambda person, account, approver, day: {
            "person": person, "account": account, "approver": approver, "approved": day, "system": "github",
            "privileged": "yes", "expires": None, "refused": None,
        },
        WHO, st.sampled_from((None, "ops")), st.one_of(st.none(), WHO),
        st.sampled_from((None, "2026-01-01T00:00:00Z", "2030-01-02T00:00:00Z")),
    ),
    max_size=4,
).map(lambda some: [{"id": f"AR-{n}", **one} for n, one in enumerate(some)])  # fmt: skip


def table(rows: Sequence[dict[str, Any]]) -> Table:
    return Table([record(row) for row in rows])


def whose(people: Table, identities: Table) -> Owner:
    return owner(people, identities, SYSTEM, "ops", ("a@example.org",), AS_OF)


def said(people: Table, identities: Table, requests: Table) -> list[str]:
    """What each rule says."""
    found = whose(people, identities)
    leaver = record({"person": "a@example.org", "left": "2026-05-31"})

    def names() -> str:
        who = who_left(people, leaver)
        return "nobody" if who is None else str(sorted(names_of(people, identities, who, ("git*", "code-*"), AS_OF)))

    told = [f"{found.person and found.person['id']} {found.how} {found.disputed}"]
    for ask in (
        lambda: no_leaver(found, "it is live", AS_OF, 1),
        lambda: owned(found, "ops", ()),
        lambda: approved(requests, people, found, "ops", SYSTEM, AS_OF).outcome,
        lambda: facts.not_working(people, "a@example.org", AS_OF),
        lambda: facts.is_one(people, "a@example.org", "p-1", AS_OF),
        names,
    ):
        try:
            told.append(str(ask()))
        except Unavailable:
            told.append("unknown")
    return told


@given(PEOPLE, CLAIMS, REQUESTS, st.randoms(use_true_random=False))
def test_the_same_rows_in_any_order_say_the_same(
    people: list[dict[str, Any]], claims: list[dict[str, Any]], requests: list[dict[str, Any]], chance: Any
) -> None:
    before = said(table(people), table(claims), table(requests))
    for rows in (people, claims, requests):
        chance.shuffle(rows)
    assert said(table(people), table(claims), table(requests)) == before


def one(number: int, status: str, end: str | None = None, email: str = "a@example.org") -> dict[str, Any]:
    return {"id": f"p-{number}", "email": email, "status": status, "start": "2020-01-01", "end": end}


def claimed(*rows: tuple[str, str]) -> Table:
    return table([{"person": who, "system": system, "account": "ops"} for who, system in rows])


def test_rows_that_disagree_name_nobody() -> None:
    people = table([one(1, "left", "2026-01-01", "a@example.org"), one(2, "active", None, "b@example.org")])
    for rows in ((("p-2", "code-acme"), ("p-1", "github")), (("p-1", "github"), ("p-2", "code-acme"))):
        found = whose(people, claimed(*rows))
        assert found == Owner(None, "claimed by p-1 and p-2 in identities.csv", disputed=True)
    assert whose(people, claimed(("p-1", "github"), ("A@EXAMPLE.org", "code-acme"))).person is not None
    assert whose(people, claimed(("p-1", "github"), ("p-2", "code-test"))).how == "declared in identities.csv"


def test_who_was_hired_again_is_not_who_left() -> None:
    for rows in ([one(4, "left", "2021-07-11"), one(9, "active")], [one(9, "active"), one(4, "left", "2021-07-11")]):
        for identities in (claimed(), claimed(("a@example.org", "github"))):
            found = whose(table(rows), identities)
            assert found.person is not None
            assert found.person["id"] == "p-9"
        assert facts.not_working(table(rows), "a@example.org", AS_OF) == ""


def test_an_address_is_never_taken_for_an_id() -> None:
    people = table([{**one(1, "active"), "id": "ops"}])
    assert owner(people, claimed(), SYSTEM, "ops", ("ops",), AS_OF).person is None
    assert owner(people, claimed(), SYSTEM, "ops", ("a@example.org",), AS_OF).person is not None


@given(st.text(alphabet="*?[]!a- \u00e4", max_size=6))
def test_a_pattern_that_counts_for_nothing_is_a_fault_of_the_register(pattern: str) -> None:
    row = {"id": pattern, "name": "laptop", "kind": "hardware", "off_site": "no", "encrypted": "no"}
    told = [what for column, what, _ in shape("assets").problems(row) if column == "id" and "wrong form" in what]
    assert bool(told) == bool(ANYTHING.fullmatch(pattern))
    assert re.fullmatch(r"[\s*?]*", pattern) is None or told
