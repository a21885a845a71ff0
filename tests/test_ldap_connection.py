"""How a directory is read, against a real slapd: pages, limits, refusals, what access rules hide, and TLS."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from collector.api import Ldap, Row, Source, source
from collector.config import LdapConnection, load
from collector.connect import ldap as ldap_module
from collector.connect.ldap import JSON, Directory, Session
from collector.connect.wire import Answer
from collector.directory import NEVER, escaped, filetime, generalized, interval, sid
from collector.errors import ConfigError
from collector.model import Unavailable
from collector.secrets import Secret, SecretRef
from tests.ldap_servers import PASSWORD, LdapWorld, Slapd, same
from tests.servers import free_port, peer
from tests.worlds import LIMITS, Reading

LDIF = (Path(__file__).parent / "checks" / "ldap" / "directory.ldif").read_text("utf8")
PEOPLE = ["anna", "berta", "carl", "toor"]
OPEN = "access to attrs=userPassword by * auth\naccess to * by * read\n"


@source("ldap.people", key="dn", per="connection", permissions=())
def people(ldap: Ldap) -> Iterator[Row]:
    """Everybody with a uid."""
    yield from ldap.entries("(uid=*)", attributes=("uid",), optional=("mail", "pwdAccountLockedTime"))


def listing(**options: Any) -> Source:
    """A source that lists what ``options`` of ``entries`` ask for."""

    def rows(ldap: Ldap) -> Iterator[Row]:
        yield from ldap.entries(**{"filter": "(uid=*)", "attributes": ("uid",), **options})

    return replace(people, function=rows)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    folder = tmp_path_factory.mktemp("slapd")
    world = Slapd(folder, folder)
    world.load(LDIF)
    yield world
    world.stop()


@pytest.fixture
def ldap(server: Slapd, tmp_path: Path) -> Slapd:
    """The directory as it was loaded, open to every reader."""
    server._tmp = tmp_path
    server.password, server.start_tls = PASSWORD, True
    if server.rules != OPEN or server.options or server._process is None:
        server.rules, server.options = OPEN, ""
        server.start()
    return server


def names(reading: Reading) -> list[str]:
    return sorted(row["uid"][0] for row in reading.rows)


def gap(reading: Reading) -> tuple[str, str]:
    assert reading.shard.population.gap is not None
    return str(reading.shard.population.gap.kind), reading.shard.population.gap.reason


def test_a_list_is_read_page_by_page_to_the_last(ldap: Slapd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ldap_module, "PAGE_SIZE", 3)
    asked = listing()
    reading = ldap.read_source(asked)
    assert (names(reading), reading.shard.population.proven) == (PEOPLE, True)
    first, second = reading.ledger.lines
    assert (first["page"], first["tokenIn"], first["last"], second["last"]) == (1, None, False, True)
    assert first["tokenOut"] == second["tokenIn"] != second["tokenOut"]
    assert second["tokenOut"] is None
    assert first["params"] == {
        "base": ldap.base, "scope": "subtree", "filter": "(uid=*)", "attributes": ["uid"], "size": 3, "controls": [],
    }  # fmt: skip
    assert (first["status"], first["endpoint"], first["caller"]) == (0, ldap.url, ldap.bind_dn)
    same(ldap, reading, asked)
    few = replace(LIMITS, max_pages=1)
    assert gap(ldap.read_source(asked, limits=few)) == ("page-cap", "ldap:search has more than 1 pages")


@pytest.mark.parametrize("asked", ["(uid=*)", "(uid=nobody)"])
def test_what_one_entry_shows_of_all_is_asked_of_one_page(
    ldap: Slapd, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    monkeypatch.setattr(ldap_module, "PAGE_SIZE", 3)

    def declared(parts: str) -> Source:
        @source("ldap.t", key="Id", per="connection", permissions=("read uid",), parts=parts)
        def one(directory: Ldap) -> Iterator[Row]:
            """One record."""
            yield {"Id": "one", "any": directory.first(asked, attributes=("uid",)) is not None}

        return one

    reading = ldap.read_source(declared("whether there is anybody"))
    there = asked == "(uid=*)"
    assert (reading.rows[0]["any"], reading.shard.population.proven) == (there, True)
    assert [(line.get("part", False), line["last"]) for line in reading.ledger.lines] == [(there, not there)]
    same(ldap, reading, declared("whether there is anybody"))
    assert ldap.read_source(declared("")).shard.population.proven != there


def test_what_is_kept_is_one_document_in_one_spelling(ldap: Slapd) -> None:
    asked = listing(filter="(uid=anna)", attributes=("UID", "sn"))
    reading = ldap.read_source(asked)
    (body,) = reading.ledger.objects.values()
    assert body == json.dumps(json.loads(body), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert json.loads(body) == {
        "cookie": "", "diagnosticMessage": "", "matchedDN": "", "references": [], "referrals": [],
        "result": "success", "resultCode": 0,
        "entries": [
            {"dn": "uid=anna,ou=people,dc=acme,dc=example", "attributes": {"sn": ["Example"], "uid": ["anna"]}}
        ],
    }  # fmt: skip
    assert reading.rows == [{"dn": "uid=anna,ou=people,dc=acme,dc=example", "UID": ["anna"], "sn": ["Example"]}]


def test_a_value_that_is_no_text_keeps_its_bytes(ldap: Slapd) -> None:
    assert ldap_module._value("ü".encode()) == "ü"
    for raw in (b"\xff\x00", "é".encode("latin-1"), b"\x80"):
        kept = ldap_module._value(raw)
        assert isinstance(kept, dict)
        assert ldap_module._bytes(kept) == raw
    assert ldap_module._bytes("ü") == "ü".encode()


def test_no_secret_is_kept_and_none_asked_for(ldap: Slapd) -> None:
    reading = ldap.read("ldap.accounts")
    kept = json.dumps(reading.ledger.lines).encode() + b"".join(reading.ledger.objects.values())
    assert PASSWORD.encode() not in kept
    assert b"userPassword" not in kept


@pytest.mark.parametrize("attributes", [(), ("*",), ("uid", "+")])
def test_attributes_are_named(ldap: Slapd, attributes: tuple[str, ...]) -> None:
    kind, reason = gap(ldap.read_source(listing(attributes=attributes)))
    assert kind == "crashed"
    assert "name the attributes" in reason


def test_nothing_there_is_a_complete_empty_list(ldap: Slapd) -> None:
    asked = listing(filter="(uid=nobody)", optional=("mail",))
    reading = ldap.read_source(asked)
    assert (reading.rows, reading.shard.population.proven) == ([], True)
    same(ldap, reading, asked)


def test_what_an_entry_does_not_have_is_an_empty_list_because_the_server_says_so(ldap: Slapd) -> None:
    reading = ldap.read_source(people)
    assert reading.shard.population.partial == ()
    mails = {row["uid"][0]: row["mail"] for row in reading.rows}
    assert mails == {"anna": ["anna@acme.example"], "berta": [], "carl": [], "toor": []}
    negations = [line["params"]["filter"] for line in reading.ledger.lines][:2]
    assert negations == ["(&(uid=*)(!(mail=*)))", "(&(uid=*)(!(pwdAccountLockedTime=*)))"]
    assert reading.shard.path is not None
    anna, berta = (json.loads(line) for line in reading.shard.path.read_bytes().splitlines()[:2])
    assert (anna["refs"], berta["refs"]) == ([1, 2], [0, 1, 2]), "each row cites the reply that says it has none"
    same(ldap, reading, people)


def test_what_access_rules_hide_is_not_taken_for_absent(ldap: Slapd) -> None:
    ldap.rules = (
        "access to attrs=userPassword by * auth\n"
        'access to dn.exact="uid=carl,ou=people,dc=acme,dc=example" attrs=pwdAccountLockedTime by * none\n'
        'access to dn.exact="uid=berta,ou=people,dc=acme,dc=example" attrs=mail by * none\n'
        'access to dn.exact="uid=berta,ou=people,dc=acme,dc=example" attrs=uid by * search\n'
        "access to * by * read\n"
    )
    ldap.start()
    reading = ldap.read_source(people)
    rows = {row["dn"].partition(",")[0]: row for row in reading.rows}
    assert len(rows) == 4
    assert rows["uid=anna"]["pwdAccountLockedTime"] == []
    with pytest.raises(Unavailable, match="nothing shows that there is none"):
        rows["uid=carl"]["pwdAccountLockedTime"]
    with pytest.raises(Unavailable, match="nothing shows that there is none"):
        rows["uid=berta"]["mail"]
    with pytest.raises(Unavailable, match="which every such entry has: it may not be read"):
        rows["uid=berta"]["uid"]
    kinds = {(str(item.kind), item.resources) for item in reading.shard.population.partial}
    carl, berta = "uid=carl,ou=people,dc=acme,dc=example", "uid=berta,ou=people,dc=acme,dc=example"
    assert kinds == {("denied", (berta,)), ("unproven", (berta,)), ("unproven", (carl,))}
    same(ldap, reading, people)


def test_an_attribute_the_server_does_not_know_is_not_taken_for_absent(ldap: Slapd) -> None:
    (row, *_) = ldap.read_source(listing(optional=("lastLogonTimestamp",))).rows
    with pytest.raises(Unavailable, match="gave no lastLogonTimestamp"):
        row["lastLogonTimestamp"]


def test_a_server_that_sends_too_few_is_a_gap_and_no_short_list(ldap: Slapd) -> None:
    ldap.options = "sizelimit 2\n"
    ldap.start()
    reading = ldap.read_source(listing())
    assert gap(reading) == ("truncated", "ldap:search was cut off by the server (4 sizeLimitExceeded)")
    assert reading.rows == []
    same(ldap, reading, listing())


def test_a_referral_is_told_and_not_followed(ldap: Slapd) -> None:
    ldap.load(
        LDIF + "\ndn: ou=away,dc=acme,dc=example\nobjectClass: referral\nobjectClass: extensibleObject\nou: away\n"
        "ref: ldap://elsewhere.example/ou=away,dc=acme,dc=example\n"
    )
    ldap.start()
    reading = ldap.read_source(listing())
    told = "ldap:search was referred to elsewhere.example for part of the list, which is not followed"
    assert gap(reading) == ("truncated", told)
    same(ldap, reading, listing())
    away = ldap.read_source(listing(base="ou=away,dc=acme,dc=example"))
    assert gap(away) == ("truncated", "ldap:search was cut off by the server (10 referral)")
    ldap.stop()
    ldap.load(LDIF)
    ldap.start()


@pytest.mark.parametrize(
    ("rules", "base", "told"),
    [
        (OPEN, "ou=nowhere,dc=acme,dc=example", ("rejected", "ldap:search was rejected (32 noSuchObject)")),
        (
            'access to dn.subtree="ou=people,dc=acme,dc=example" by * =d\naccess to * by * read\n',
            "ou=people,dc=acme,dc=example",
            ("denied", "ldap:search was refused (50 insufficientAccessRights)"),
        ),
    ],
)
def test_a_base_that_is_not_there_or_not_open(ldap: Slapd, rules: str, base: str, told: tuple[str, str]) -> None:
    ldap.rules = rules
    ldap.start()
    reading = ldap.read_source(listing(base=base))
    assert gap(reading) == told
    same(ldap, reading, listing(base=base))


def test_a_wrong_password_is_tried_once(ldap: Slapd) -> None:
    ldap.password = "wrong"
    directory = ldap.directory()
    reading = ldap.read_source(listing(), directory=directory)
    reason = "ldap:search was refused: the directory did not let us sign in (49 invalidCredentials)"
    assert gap(reading) == ("unauthenticated", reason)
    assert b"wrong" not in b"".join(reading.ledger.objects.values())
    same(ldap, reading, listing())
    ldap.stop()
    assert gap(ldap.read_source(people, directory=directory)) == ("unauthenticated", reason), "the server is not asked"
    ldap.start()


def test_tls_from_the_beginning_and_begun_later(ldap: Slapd) -> None:
    assert names(ldap.read_source(listing())) == PEOPLE
    secure = ldap.directory(url=ldap.secure_url, start_tls=False)
    reading = ldap.read_source(listing(), directory=secure)
    assert (names(reading), reading.ledger.lines[0]["endpoint"]) == (PEOPLE, ldap.secure_url)


@pytest.mark.parametrize("start_tls", [True, False])
@pytest.mark.parametrize("fault", ["roots", "name"])
def test_a_certificate_that_does_not_hold_gets_no_password(
    ldap: Slapd, start_tls: bool, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = ldap.url if start_tls else ldap.secure_url
    given = {"roots": ldap.strangers} if fault == "roots" else {}
    url = url.replace("localhost", "127.0.0.1") if fault == "name" else url

    def reveal(_: Secret) -> str:
        return "never sent"

    monkeypatch.setattr(Secret, "reveal", reveal)
    reading = ldap.read_source(listing(), directory=ldap.directory(url=url, start_tls=start_tls, **given))
    kind, reason = gap(reading)
    assert kind == "rejected"
    assert "the certificate of the server does not hold" in reason
    assert ("127.0.0.1" in reason) == (fault == "name")
    same(ldap, reading, listing())


def test_a_server_that_wants_tls_does_not_get_the_password_twice(ldap: Slapd) -> None:
    ldap.options = "security simple_bind=128\n"
    ldap.start()
    plain = ldap.directory(start_tls=False)
    kind, reason = gap(ldap.read_source(listing(), directory=plain))
    assert (kind, reason.endswith("(13 confidentialityRequired)")) == ("unauthenticated", True)
    assert names(ldap.read_source(listing())) == PEOPLE


def test_who_asks(ldap: Slapd) -> None:
    reading = ldap.read("ldap.caller")
    assert reading.rows == [{"Id": "caller", "Caller": f"dn:{ldap.bind_dn}"}]
    assert reading.ledger.lines[0]["op"] == "ldap:whoami"
    same(ldap, reading)


def test_nobody_listens(ldap: Slapd) -> None:
    directory = ldap.directory(url=f"ldap://127.0.0.1:{free_port()}")
    reading = ldap.read_source(listing(), directory=directory, attempts=2)
    told = "ldap:search got no usable reply: the connection could not be made, or broke off (2 attempts)"
    assert gap(reading) == ("unreachable", told)
    assert [line["attempt"] for line in reading.ledger.lines] == [1, 2]
    same(ldap, reading, listing())


def _mute(connection: socket.socket) -> None:
    threading.Event().wait(3)


def _garbage(connection: socket.socket) -> None:
    connection.recv(1 << 12)
    connection.sendall(b"\x30\x06\x02\x01\x01\x61\x01\x00HTTP/1.1 400 Bad Request\r\n\r\n")


def _gone(connection: socket.socket) -> None:
    connection.recv(1 << 12)


@pytest.mark.parametrize(
    ("talk", "kinds"), [(_mute, {"timeout"}), (_garbage, {"malformed", "unreachable"}), (_gone, {"unreachable"})]
)
def test_a_server_that_is_none(ldap: Slapd, talk: Any, kinds: set[str]) -> None:
    with peer(talk) as port:
        directory = ldap.directory(url=f"ldap://127.0.0.1:{port}", start_tls=False, timeout_s=1)
        reading = ldap.read_source(listing(), directory=directory, attempts=1)
    assert gap(reading)[0] in kinds
    same(ldap, reading, listing(), attempts=1)


class Scripted(Directory):
    """Gives answers that were written down, one after the other."""

    def __init__(self, world: LdapWorld, *answers: Answer) -> None:
        super().__init__(world.url, bind_dn=world.bind_dn, password=Secret("x"))
        self._answers = list(answers)

    @contextmanager
    def session(self) -> Iterator[Session]:
        held = Session(self)
        held.search = lambda request, *, first, max_bytes: self._answers.pop(0)  # type: ignore[method-assign]
        yield held


def answered(code: int, result: str, **page: Any) -> Answer:
    told = {"resultCode": code, "result": result, "entries": [], "references": [], "cookie": "", **page}
    return Answer(code, json.dumps(told).encode(), JSON, "ldap://x")


FOUND = {"entries": [{"dn": "uid=x", "attributes": {"uid": ["x"]}}]}


def test_a_busy_server_is_asked_again(ldap: Slapd) -> None:
    for code, result in ((51, "busy"), (52, "unavailable")):
        reading = ldap.read_source(
            listing(), directory=Scripted(ldap, answered(code, result), answered(0, "success", **FOUND))
        )
        assert (names(reading), [line["attempt"] for line in reading.ledger.lines]) == (["x"], [1, 2])
        same(ldap, reading, listing())
    twice = Scripted(ldap, answered(51, "busy"), answered(51, "busy"))
    assert gap(ldap.read_source(listing(), directory=twice))[0] == "server-error"


@pytest.mark.parametrize(
    ("code", "result", "kind"),
    [
        (3, "timeLimitExceeded", "timeout"), (4, "sizeLimitExceeded", "truncated"), (10, "referral", "truncated"),
        (11, "adminLimitExceeded", "truncated"), (12, "unavailableCriticalExtension", "unsupported"),
        (50, "insufficientAccessRights", "denied"), (53, "unwillingToPerform", "rejected"), (80, "other", "rejected"),
        (1, "operationsError", "rejected"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("page", [1, 2])
def test_a_result_that_is_no_success_is_a_gap_at_any_page(
    ldap: Slapd, code: int, result: str, kind: str, page: int
) -> None:
    answers = [answered(0, "success", **FOUND, cookie="aa")] * (page - 1) + [answered(code, result, **FOUND)]
    reading = ldap.read_source(listing(), directory=Scripted(ldap, *answers))
    assert gap(reading)[0] == kind
    assert f"({code} {result})" in gap(reading)[1]
    assert (len(reading.rows), len(reading.ledger.lines)) == (page - 1, page), "refusals are not tried again"
    same(ldap, reading, listing())


def test_a_page_that_does_not_say_whether_there_is_more_ends_in_a_gap(ldap: Slapd) -> None:
    reading = ldap.read_source(listing(), directory=Scripted(ldap, answered(0, "success", **FOUND, cookie=None)))
    assert gap(reading) == ("malformed", "ldap:search does not say whether there is more")
    same(ldap, reading, listing())


def test_a_page_lost_half_way_is_not_asked_for_in_another_session(
    ldap: Slapd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ldap_module, "PAGE_SIZE", 2)
    asked = listing()

    def rows(connection: Ldap) -> Iterator[Row]:
        for row in asked(connection):
            ldap.stop()
            yield row

    reading = ldap.read_source(replace(people, function=rows))
    assert gap(reading)[0] == "unreachable"
    assert len(reading.rows) == 2
    same(ldap, reading, asked)
    ldap.start()


def test_an_oversized_page_is_a_gap(ldap: Slapd) -> None:
    reading = ldap.read_source(listing(), limits=replace(LIMITS, max_reply_bytes=100))
    assert gap(reading) == ("oversized", "ldap:search got no usable reply: the page is larger than 100 bytes")


CONFIG = """\
version: 1
organisation: Example Ltd
store: {path: evidence, origin: log.example.org/a}
key: {file: a.key, passphrase: env:PASS}
connections:
  - name: corp
    kind: active-directory
    url: ldaps://dc1.corp.example/
    base: DC=corp,DC=example
    bind_dn: auditor@corp.example
    password: env:LDAP
    roots: roots.pem
    timeout_s: 5
"""


def test_a_directory_is_configured(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    (found,) = load(path).connections
    assert found == LdapConnection(
        "corp", "active-directory", "ldaps://dc1.corp.example", "DC=corp,DC=example", "auditor@corp.example",
        SecretRef("env", "LDAP"), False, tmp_path / "roots.pem", 5.0,
    )  # fmt: skip
    for url in ("ldap://dc1.corp.example:1389\n    start_tls: true", "ldap://localhost", "ldap://127.0.0.1:1389"):
        path.write_text(CONFIG.replace("ldaps://dc1.corp.example/", url))
        assert load(path).connections


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("ldaps://dc1", "ldap://dc1", "connections[0].url: would send the password unencrypted"),
        ("ldaps://dc1.corp.example/", "ldaps://dc1\n    start_tls: true", "start_tls: ldaps has TLS"),
        ("ldaps://dc1", "ldaps://auditor:secret@dc1", "connections[0].url: holds a user name or password"),
        ("ldaps://dc1.corp.example/", "https://dc1.corp.example/", "connections[0].url: "),
        ("ldaps://dc1.corp.example/", "ldaps://dc1.corp.example/dc=x", "connections[0].url: "),
        ("ldaps://dc1.corp.example/", "ldaps://:636", "connections[0].url: names no host"),
        ("    bind_dn: auditor@corp.example\n", "", "connections[0]: bind_dn is missing"),
        ("password: env:LDAP", "password: hunter2", "connections[0].password: a literal value stands"),
        ("DC=corp,DC=example", "corp.example", "connections[0].base: "),
    ],
)
def test_a_directory_that_is_wrongly_configured(tmp_path: Path, old: str, new: str, told: str) -> None:
    path = tmp_path / "config.yaml"
    assert old in CONFIG
    path.write_text(CONFIG.replace(old, new))
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert told in caught.value.what
    assert "hunter2" not in str(caught.value)


def test_only_searches_can_be_asked() -> None:
    told = {name for name in vars(Ldap) if not name.startswith("_")}
    assert told == {
        "entries", "attempt_entries", "first", "entry", "whoami", "attempt_anonymous_search", "attempt_clear_bind",
    }  # fmt: skip
    verbs = {name for name in vars(Session) if not name.startswith("_")}
    assert verbs == {"close", "search", "who_am_i", "anonymous_search", "clear_bind"}


def test_spellings_of_directories() -> None:
    assert f"{filetime('134398043761148390'):%Y-%m-%d %H:%M:%S.%f}" == "2026-11-22 06:59:36.114839"
    assert filetime("0") is filetime(str(NEVER)) is None
    assert interval("-18000000000").total_seconds() == 1800  # type: ignore[union-attr]
    assert interval("0") is interval(str(-NEVER - 1)) is None
    assert generalized("20260131235959Z").isoformat() == "2026-01-31T23:59:59+00:00"
    assert generalized("20260131235959.5Z").microsecond == 500000
    assert sid(bytes.fromhex("0105000000000005150000001c00d16e2b2a5591266b4334f4010000")).endswith("-500")
    assert sid(bytes.fromhex("01020000000000052000000020020000")) == "S-1-5-32-544"
    assert escaped("CN=Anna (Sales)*\\,x") == "CN=Anna \\28Sales\\29\\2a\\5c,x"
    for wrong, text in (
        (filetime, "-1"), (interval, "1"), (generalized, "20260131"), (generalized, "20260131235959"),
        (generalized, "20260131235959.xZ"), (generalized, "000001010000Z"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"not a|unconverted|does not match"):
            wrong(text)
    for raw in (b"", b"\x01\x05\x00", b"\x02" + bytes(7)):
        with pytest.raises(ValueError, match="not a security identifier"):
            sid(raw)
