"""The page in a real browser: complete, quiet, safe with hostile names, and usable when large."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from collector.report import page as html
from tests.report_sample import (
    CALLER,
    FORMERLY,
    HOSTILE,
    LATER,
    STATED,
    Problem,
    Sample,
    Verification,
    aborted,
    body,
    sample,
    waiver_of,
)

CHROMIUM = Path("/usr/bin/chromium")
QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(
            f"{CHROMIUM} is absent: apt-get install chromium"
        )
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(QUIET))
        yield running
        running.close()


class Reader:
    """Opens reports as files and keeps what the browser said and asked."""

    def __init__(self, browser: Browser, folder: Path) -> None:
        self.tab: Page = browser.new_page(viewport={"width": 1280, "height": 900})
        self.tab.set_default_timeout(5000)
        self.said: list[str] = []
        self.asked: list[str] = []
        self.file = folder / "report.html"
        self.tab.on("console", lambda message: self.said.append(message.text))
        self.tab.on("pageerror", lambda error: self.said.append(str(error)))
        self.tab.on("request", lambda request: self.asked.append(request.url))

    def open(self, made: Sample, *arguments: object, **more: object) -> Page:
        self.file.write_text(html.render(made.report(*arguments, **more)), "utf-8")  # type: ignore[arg-type]
        self.tab.goto(self.file.as_uri())
        return self.tab


@pytest.fixture
def reader(browser: Browser, tmp_path: Path) -> Iterator[Reader]:
    opened = Reader(browser, tmp_path)
    yield opened
    opened.tab.close()
    assert opened.said == []
    assert opened.asked == [opened.file.as_uri()] * len(opened.asked)


def entry(tab: Page, control: str):
    return tab.locator(f'[data-control="{control}"]')


def test_all_93_controls_of_annex_a_are_listed_and_each_can_be_opened(reader: Reader):
    tab = reader.open(sample())
    expect(tab.locator("#controls .control[data-control]")).to_have_count(93)
    ids = tab.locator("#controls .control > summary > :first-child").all_inner_texts()
    assert ids == [
        f"A.{theme}.{number}" for theme, last in ((5, 37), (6, 8), (7, 14), (8, 34)) for number in range(1, last + 1)
    ]
    tab.get_by_role("button", name="Open all shown").click()
    expect(tab.locator("#controls .control[open] > .body")).to_have_count(93)
    for told in tab.locator("#controls .control > .body").all_inner_texts():
        assert re.search(r"METHOD\s+(examine|interview|observe|test)", told)
        assert re.search(r"LOOK FOR\s+\S+", told)
    tab.get_by_role("button", name="clauses (30)").click()
    expect(tab.locator("#controls .control[data-control]")).to_have_count(30)
    tab.get_by_role("button", name="27017:2026 (97)").click()
    expect(tab.locator("#controls .control[data-control]")).to_have_count(97)


def test_a_control_leads_down_to_the_digest_of_a_reply(reader: Reader):
    tab = reader.open(sample())
    control = entry(tab, "A.5.17")
    control.locator("> summary").press("Enter")
    expect(control).to_contain_text("1 of 1 aspects have exceptions")
    expect(control).to_contain_text(
        "partial; remains to be shown: that the rule covers every kind of data; that someone reviews it"
    )
    expect(control).to_contain_text("that the organisation's own rule asks for this")
    expect(control).to_contain_text("rule:access-keys, max_age_days")
    control.locator(".drill > summary").click()
    expect(control).to_contain_text('{"max_age_days":90}')
    expect(control).to_contain_text("Active access keys are younger than the limit, on the day of collection.")
    control.locator(".within > summary", has_text="AKIAEXAMPLE1").click()
    reply = control.locator(".within[open] details.reply")
    reply.locator("> summary").click()
    number = int(reply.get_attribute("data-reply") or "-1")
    for fact in (
        body(number), f"REQ{number:06}", "iam:ListAccessKeys", CALLER, "1, the last; attempt 1",
        "Sun, 01 Feb 2026 02:00:01 GMT", "UTC",
    ):  # fmt: skip
        expect(reply).to_contain_text(fact)


def test_filters_narrow_each_list_and_keep_what_is_open(reader: Reader):
    tab = reader.open(sample())
    entry(tab, "A.8.24").locator("> summary").click()
    controls = tab.get_by_label("Filter controls")
    controls.fill("key-rotated")
    expect(tab.locator("#controls .control[data-control]")).to_have_count(1)
    controls.fill("nothing like this")
    expect(tab.locator("#controls")).to_contain_text("Nothing matches the filter.")
    controls.fill("")
    expect(tab.locator("#controls .control[open]")).to_have_count(1)
    tab.locator('#controls button[data-value="met"]').click()
    assert tab.locator("#controls .control > summary > :first-child").all_inner_texts() == ["A.8.2", "A.8.15"]
    tab.locator('#findings button[data-value="FAIL"]').click()
    expect(tab.locator("#findings .finding:not(.cols)")).to_have_count(7)
    tab.locator('#findings button[data-value="ERROR"]').click()
    expect(tab.locator("#findings .shown")).to_have_text("8 of 131 findings")
    tab.get_by_label("Filter findings").last.fill("sshd KeyError")
    expect(tab.locator("#findings .finding:not(.cols)")).to_have_count(1)


def test_counts_in_the_summary_lead_to_what_they_count(reader: Reader):
    tab = reader.open(sample())
    tab.locator("#outcomes tr", has_text="UNKNOWN").get_by_role("button").click()
    expect(tab.locator("#findings .shown")).to_have_text("5 of 131 findings")
    tab.locator("#results tr", has_text="27017:2015").get_by_role("button").click()
    expect(tab.locator("#controls .shown")).to_have_text("44 controls")


def test_what_was_not_read_names_the_checks_it_leaves_open_and_no_others(reader: Reader):
    tab = reader.open(sample())
    rows = tab.locator("#unread .gaps tbody tr")
    expect(rows).to_have_count(2)
    rows.first.locator("summary", has_text="4 records").click()
    expect(rows.first).to_contain_text("widgets-0007")
    rows.first.locator("summary", has_text="1 check").click()
    rows.first.get_by_role("link", name="aws.s3.versioning").click()
    opened = tab.locator("#checks .check[open]")
    expect(opened).to_have_count(1)
    expect(opened).to_contain_text("What it asked for and could not be read")
    expect(tab.locator("#unread")).to_contain_text("aws.backup.plan-exists")
    expect(tab.locator("#disabled")).to_contain_text("keys are held by the provider")


def test_an_address_opens_the_control_it_names(reader: Reader):
    tab = reader.open(sample())
    tab.evaluate("location.hash = '#/control/iso-27017/2015/CLD.6.3.1'")
    expect(entry(tab, "CLD.6.3.1")).to_have_attribute("open", "")
    tab.evaluate("location.hash = '#/control/iso-27001/2022%2Bamd1/A.8.3'")
    expect(entry(tab, "A.8.3")).to_have_attribute("open", "")
    tab.evaluate("location.hash = '#/check/%E0%A4%A'")
    tab.evaluate("location.hash = '#/control/no/such/thing'")


def test_hostile_names_stay_text(reader: Reader):
    tab = reader.open(
        sample(organisation=HOSTILE[1]), Verification(ok=False, problems=(Problem(HOSTILE[0], HOSTILE[4]),))
    )
    tab.get_by_label("Filter findings").last.fill("encryption")
    for details in tab.locator("#findings .finding:not(.cols)").all()[: len(HOSTILE)]:
        details.locator("> summary").click()
        details.locator(".reply > summary").nth(1).click()
    assert tab.evaluate("window.pwned") is None
    assert tab.locator("img, svg, iframe, object, embed").count() == 0
    assert tab.locator("script").count() == 2
    told = tab.locator("#findings").inner_text()
    for name in (HOSTILE[0], HOSTILE[1], HOSTILE[2], HOSTILE[4], HOSTILE[5]):
        assert name in told
    assert r"a\u{2028}b\u{202e}exe.gpj\u{1b}[2J\u{7}" in told
    assert "\u202e" not in tab.content().partition('<script type="application/json"')[0]


def test_the_seal_has_one_size_whatever_it_says(reader: Reader):
    sizes = set()
    for verification, words in (
        (Verification(), "verified"),
        (Verification(ok=False, authenticated=False), "consistent, signer not authenticated"),
        (None, "NOT VERIFIED"),
    ):
        seal = reader.open(sample(), verification).locator("#seal strong")
        expect(seal).to_have_text(words)
        sizes.add(seal.evaluate("element => getComputedStyle(element).fontSize"))
    assert len(sizes) == 1


def test_an_aborted_run_opens_with_that_and_can_be_read(reader: Reader):
    tab = reader.open(aborted(), Verification(), sample().plan_document())
    expect(tab.locator("#aborted")).to_contain_text("this run was aborted (the process was killed)")
    expect(tab.locator("#unread .gaps tbody tr")).to_have_count(10)
    expect(tab.locator("#controls")).to_contain_text("ended before any control was concluded")
    tab.locator("#read details.reply > summary").first.click()
    expect(tab.locator("#read details.reply").first).to_contain_text(body(0))


def test_five_thousand_findings_stay_usable(reader: Reader):
    tab = reader.open(sample(buckets=1700))
    expect(tab.locator("#findings .shown")).to_contain_text("5111 findings")
    assert tab.locator("#findings .finding:not(.cols)").count() == 200
    expect(tab.locator("#findings .more")).to_contain_text("The first 200 of 5111 stand here.")
    waited = tab.evaluate(
        """() => { const started = performance.now(); const box = document.querySelector('#findings > div input');
        box.value = 'widgets-1699'; box.dispatchEvent(new Event('input')); return performance.now() - started; }"""
    )
    expect(tab.locator("#findings .finding:not(.cols)")).to_have_count(3)
    assert waited < 1500
    started = tab.evaluate("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd")
    assert started < 10_000


def test_the_page_prints_what_is_open_and_every_missing_name(reader: Reader, tmp_path: Path):
    tab = reader.open(sample())
    tab.emulate_media(media="print")
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert tab.locator("nav").is_hidden()
    assert tab.get_by_label("Filter controls").is_hidden()
    assert tab.locator("#unread").get_by_text("widgets-0037").is_visible()
    tab.evaluate("dispatchEvent(new Event('afterprint'))")
    assert tab.locator("#unread").get_by_text("widgets-0037").is_hidden()
    assert tab.pdf(prefer_css_page_size=True).startswith(b"%PDF")


def test_light_and_dark_differ_and_both_can_be_read(reader: Reader):
    tab = reader.open(sample())
    shades = {}
    for scheme in ("light", "dark"):
        tab.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        colours = tab.evaluate(
            "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
        )
        ink, paper = (sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in colours)
        assert abs(ink - paper) > 400
        shades[scheme] = paper
    assert shades["light"] > 600 > shades["dark"]


def test_a_small_screen_needs_no_sideways_scrolling(reader: Reader):
    tab = reader.open(sample())
    tab.set_viewport_size({"width": 390, "height": 800})
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390


def test_statements_waivers_grades_and_age_stand_beside_what_was_read(reader: Reader):
    made = sample()
    failing = next(
        line for line in made.lines
        if line["kind"] == "finding" and line["outcome"] == "FAIL" and "<" not in line["resource"]
    )  # fmt: skip
    tab = reader.open(made, notes=[*STATED, waiver_of(failing)], at=LATER, formerly=FORMERLY)
    told = tab.locator("#statements .human")
    expect(told).to_have_count(2)
    expect(told.first).to_contain_text("Stated by a person: " + HOSTILE[0])
    expect(told.first).to_contain_text("effective 200 days before it was recorded")
    expect(told.last).to_contain_text("expired")
    row = entry(tab, "A.7.1")
    expect(row.locator("> summary")).to_contain_text("not collected")
    expect(row.locator("> summary")).to_contain_text("human evidence only")
    row.locator("> summary").click()
    expect(row.locator(".human")).to_have_count(1)
    expect(entry(tab, "A.7.2").locator("> summary")).to_contain_text("none of it valid")
    expect(tab.locator("#waived tbody tr")).to_have_count(1)
    tab.get_by_label("Filter findings").last.fill("waived")
    waived = tab.locator("#findings details.finding")
    expect(waived).to_have_count(1)
    expect(waived.locator("> summary")).to_contain_text("FAIL")
    expect(waived.locator("> summary")).to_contain_text("waived")
    expect(waived.locator(".grade")).to_have_attribute("title", re.compile("Grade [ABCD]: .+"))
    expect(tab.locator("#stale tbody tr")).to_have_count(len([x for x in made.lines if x["kind"] == "population"]))
    expect(tab.locator("#summary")).to_contain_text("read too long ago")
    expect(tab.locator("#age")).to_contain_text("lists were read too long before 2026-03-01 00:00:00.000 UTC")
    expect(entry(tab, "A.8.2").locator("> summary")).to_contain_text("stale")
    row = entry(tab, "A.8.2")
    row.locator("> summary").click()
    expect(row.locator("> .body")).to_contain_text("A.9.2.3 (2013)")
    assert tab.evaluate("window.pwned") is None


def test_a_report_of_the_moment_of_its_run_says_nothing_of_age(reader: Reader):
    tab = reader.open(sample())
    expect(tab.locator("#stale")).to_have_count(0)
    expect(tab.locator("#age")).to_have_count(0)
    expect(tab.locator("#statements")).to_have_count(0)
    expect(tab.locator("#waivers")).to_have_count(0)
    expect(tab.locator("#summary")).not_to_contain_text("Stands as")


def test_a_leaf_that_had_no_room_unfolds_to_every_change(reader: Reader):
    leaf = {"kind": "config-change", "index": 3, "recordedOn": "2026-01-03T00:00:00.000Z", "changes": ["a"], "more": 29}
    leaf |= {"by": "", "reason": ""}
    spelt = {3: [f"limit {number} {HOSTILE[0]}" for number in range(30)]}
    tab = reader.open(sample(), notes=[leaf], spelt=spelt)
    row = tab.locator("#suppressions-measurement tr").filter(has_text="leaf 3")
    expect(row).to_contain_text("a; and 29 more (nobody said why)")
    expect(row).to_contain_text("nobody is named")
    expect(row.locator("li").last).not_to_be_visible()
    row.locator("summary").click()
    expect(row.locator("li")).to_have_count(30)
    expect(row.locator("li").last).to_be_visible()
    assert tab.evaluate("window.pwned") is None
