"""Assets: who answers for them, where they are, and how they are disposed of."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from collector.api import Record, Registers, Row, Table, Verdict, check, fail, ok, skip, source
from collector.registers.facts import days_after, moment, not_working

SCHEME = ("public", "internal", "confidential", "secret")
METHODS = ("destroyed", "erased", "returned")
PERIOD_DAYS = 366


@source("register.assets", key="id", per="connection", permissions=("read assets.csv",))
def assets(registers: Registers) -> Iterator[Row]:
    """Every asset in assets.csv, those disposed of included."""
    yield from registers.table("assets")


@source("register.disposals", key="id", per="connection", permissions=("read assets.csv",), kind="period")
def disposals(registers: Registers) -> Iterator[Row]:
    """Every asset in assets.csv that was disposed of within the 366 days before the collection."""
    now = registers.now()
    for asset in registers.table("assets"):
        if asset["disposed"] and now - timedelta(days=PERIOD_DAYS) <= moment(asset["disposed"]) <= now:
            yield asset


@check(
    "register.assets.owner-active",
    title="Assets have an owner who belongs to the organisation",
    severity="medium",
    each="register.assets",
    beside=("register.people",),
)
def owner_active(asset: Record, people: Table, *, as_of: datetime) -> Verdict:
    """The owner of an asset that was not disposed of is in people.csv and works here today.

    Source: assets.csv (``owner``), people.csv (``status``, ``end``).
    Remedy: name an owner.
    """
    if asset["disposed"]:
        return skip(f"disposed of on {asset['disposed']}")
    wrong = not_working(people, asset["owner"], as_of)
    return fail(f"no owner: {wrong}") if wrong else ok(f"owned by {asset['owner']}")


@check(
    "register.assets.not-held-by-leavers",
    title="No asset is held by somebody who left",
    severity="high",
    each="register.assets",
    beside=("register.people",),
)
def not_held_by_leavers(asset: Record, people: Table, *, as_of: datetime) -> Verdict:
    """The holder of an asset that was not disposed of is in people.csv and works here today.

    Source: assets.csv (``holder``), people.csv (``status``, ``end``). What nobody in particular holds is skipped.
    Remedy: collect it, and record who has it.
    """
    if asset["disposed"]:
        return skip(f"disposed of on {asset['disposed']}")
    if not asset["holder"]:
        return skip("nobody in particular holds it")
    wrong = not_working(people, asset["holder"], as_of)
    return fail(f"held by nobody who works here: {wrong}") if wrong else ok(f"held by {asset['holder']}")


@check(
    "register.assets.classified",
    title="Assets carry a level of the classification scheme",
    severity="medium",
    each="register.assets",
)
def classified(asset: Record, *, scheme: tuple[str, ...] = SCHEME) -> Verdict:
    """The classification of an asset that was not disposed of is one of ``scheme``.

    Source: assets.csv (``classification``). That the level is right, its owner says.
    Remedy: have the owner classify it; set ``scheme`` to the levels of your own scheme.
    """
    if asset["disposed"]:
        return skip(f"disposed of on {asset['disposed']}")
    level = asset["classification"]
    return ok(f"classified {level}") if level in scheme else fail(f"classified {level or 'nowhere'}")


@check(
    "register.assets.checked",
    title="The inventory is held against reality",
    severity="medium",
    each="register.assets",
)
def checked(asset: Record, *, as_of: datetime, max_age_days: int = 366) -> Verdict:
    """The row of an asset that was not disposed of was held against reality within ``max_age_days``.

    Source: assets.csv (``checked``).
    Remedy: take stock, and record the day.
    """
    if asset["disposed"]:
        return skip(f"disposed of on {asset['disposed']}")
    if not asset["checked"]:
        return fail("never held against reality")
    age = days_after(asset["checked"], as_of.date().isoformat())
    told = f"held against reality {age} days ago, limit {max_age_days}"
    return ok(told) if age <= max_age_days else fail(told)


@check(
    "register.assets.off-site-protected",
    title="Assets used outside the premises have a holder and encrypted storage",
    severity="high",
    each="register.assets",
)
def off_site_protected(asset: Record) -> Verdict:
    """Hardware used outside the premises names its holder, and what it stores is encrypted.

    Source: assets.csv (``kind``, ``off_site``, ``holder``, ``encrypted``; none: it stores nothing).
    Remedy: record who has it, and encrypt it.
    """
    if asset["disposed"]:
        return skip(f"disposed of on {asset['disposed']}")
    if asset["off_site"] == "no" or asset["kind"] != "hardware":
        return skip("not hardware that is used outside the premises")
    if not asset["holder"]:
        return fail("nobody is recorded as holder")
    if asset["encrypted"] == "no":
        return fail(f"held by {asset['holder']}, not encrypted")
    return ok(f"held by {asset['holder']}, encrypted: {asset['encrypted']}")


@check(
    "register.assets.media-protected",
    title="Storage media have a holder, a level and encryption",
    severity="medium",
    each="register.assets",
)
def media_protected(asset: Record, *, open_levels: tuple[str, ...] = ("public",)) -> Verdict:
    """A storage medium names holder and level; it is encrypted unless its level is one of ``open_levels``.

    Source: assets.csv (``kind`` media, ``holder``, ``classification``, ``encrypted``).
    Remedy: record who has it and what is on it, and encrypt it.
    """
    if asset["disposed"]:
        return skip(f"disposed of on {asset['disposed']}")
    if asset["kind"] != "media":
        return skip(f"an asset of the kind {asset['kind']}")
    holder, level = asset["holder"], asset["classification"]
    if not holder or not level:
        return fail(f"holder {holder or 'not named'}, level {level or 'not named'}")
    told = f"held by {holder}, {level}, encrypted: {asset['encrypted']}"
    return ok(told) if asset["encrypted"] == "yes" or level in open_levels else fail(told)


@check(
    "register.assets.software-licensed",
    title="Software in the inventory names its licence",
    severity="low",
    each="register.assets",
)
def software_licensed(asset: Record) -> Verdict:
    """An asset of the kind software names the licence it is used under.

    Source: assets.csv (``kind``, ``licence``). How many copies it allows is not seen.
    Remedy: record the licence, or stop using the software.
    """
    if asset["disposed"]:
        return skip(f"disposed of on {asset['disposed']}")
    if asset["kind"] != "software":
        return skip(f"an asset of the kind {asset['kind']}")
    return ok(f"licence {asset['licence']}") if asset["licence"] else fail("no licence is named")


@check(
    "register.disposals.recorded",
    title="Assets were disposed of by a safe way, with a record",
    severity="high",
    each="register.disposals",
)
def recorded(
    asset: Record, *, methods: tuple[str, ...] = METHODS, kinds: tuple[str, ...] = ("hardware", "media")
) -> Verdict:
    """An asset of one of ``kinds`` was disposed of by one of ``methods``, and a record of it is named.

    Source: assets.csv (``disposed``, ``disposal_method``, ``disposal_record``), of the last 366 days.
    Remedy: get the certificate, and name it.
    """
    if asset["kind"] not in kinds:
        return skip(f"an asset of the kind {asset['kind']}")
    how, record = asset["disposal_method"], asset["disposal_record"]
    told = f"disposed of on {asset['disposed']}: {how or 'no method'}, {record or 'no record'}"
    return ok(told) if how in methods and record else fail(told)
