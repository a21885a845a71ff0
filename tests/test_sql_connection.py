"""Databases are asked one reading statement at a time; what comes back is on record, typed, whole, or a gap."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from collector.api import Source, Sql
from collector.config import SqlConnection, load
from collector.connect import opening
from collector.connect.base import Limits
from collector.connect.sql import Sql as SqlView
from collector.connect.sql import filled, named, refused, result, verified
from collector.connect.wire import Answer
from collector.errors import ConfigError
from collector.model import GapKind, Unavailable
from tests.database_servers import (  # noqa: F401
    PASSWORD,
    Running,
    SqlWorld,
    mariadb_server,
    postgresql_server,
)
from tests.servers import Authority, free_port, peer
from tests.small_cloud import Office, files_of
from tests.test_config import LEAST
from tests.worlds import Reading

KINDS = ("postgresql", "mariadb")


@pytest.fixture(params=KINDS)
def running(request: pytest.FixtureRequest) -> Running:
    """Each of the two servers."""
    return request.getfixturevalue(f"{request.param}_server")


def source(kind: str, sql: str, permissions: tuple[str, ...] = (), **params: Any) -> Source:
    """A source of one statement, as a customer might write it."""

    def things(database: Sql) -> Iterator[dict[str, Any]]:
        """Things."""
        yield from database.rows(sql, **params)

    return Source(f"{kind}.things", "id", "connection", permissions, "snapshot", (), things)


def read(world: SqlWorld, sql: str, **params: Any) -> Reading:
    return world.read_source(source(world.kind, sql, **params))


# What may be asked


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM things", "SELECT 1; DROP TABLE things", "SELECT 1 INTO things", "SELECT * FROM a FOR UPDATE",
        "SELECT 1 INTO OUTFILE '/tmp/x'", "SELECT * FROM a FOR NO KEY UPDATE", "WITH x AS (DELETE FROM a) SELECT 1",
        "SELECT 1 -- and more", "SELECT /*! SLEEP(9) */ 1", "SELECT '\\' ; DROP TABLE a'", "SELECT $$a$$", "",
        'SELECT "a"', "SELECT pg_terminate_backend(1)", "SELECT pg_read_file('/etc/passwd')", "SELECT LOAD_FILE('/a')",
        "SELECT set_config('a', 'b', false)", "SELECT nextval('a')", "VALUES (1)", "EXPLAIN ANALYZE SELECT 1",
        "SELECT GET_LOCK('a', 1)", "SELECT SLEEP(1)", "TABLE a", "SELECT lo_import('/etc/passwd')", "SELECT 1 # 2",
    ],
)  # fmt: skip
def test_a_statement_that_does_more_than_read_is_refused_before_it_is_sent(sql: str) -> None:
    with pytest.raises(ValueError, match="statement"):
        named("postgresql", sql)


def test_words_in_quotes_are_not_words_of_the_statement() -> None:
    name, needed = named(
        "mariadb",
        "SELECT a FROM mysql.user u JOIN information_schema.X ON 'from z; into' = b WHERE c IN (SELECT d FROM e) "
        "AND f(g) AND 'it''s' <> (SELECT 1 FROM unnest(h))",
    )
    assert name == "mariadb:SELECT mysql.user information_schema.X e"
    assert needed == {"SELECT ON mysql.user", "SELECT ON information_schema.X", "SELECT ON e"}
    assert named("mariadb", "show global variables like 'a'") == ("mariadb:SHOW GLOBAL VARIABLES", set())


def test_parameters_are_named_all_and_no_others() -> None:
    text = filled("SELECT :a, b::text, ':c', :a", {"a": 1}, lambda name: f"<{name}>")
    assert text == "SELECT <a>, b::text, ':c', <a>"
    for params in ({}, {"a": 1, "b": 2}, {"a": None}, {"a": 1.5}, {"a": True}):
        with pytest.raises(ValueError, match=r"is given|is no text"):
            filled("SELECT :a", params, str)


def test_a_source_that_asks_what_it_does_not_declare_gets_nothing(running: Running, tmp_path: Path) -> None:
    world = SqlWorld(running, tmp_path)
    reading = world.read_source(source(world.kind, "SELECT 1 AS id FROM secrets", ("SELECT ON others",)))
    assert reading.shard.population.gap is not None
    assert reading.shard.population.gap.kind == "undeclared"
    assert world.asked == []


# What comes back


def test_values_of_postgresql_are_typed(postgresql_server: Running, tmp_path: Path) -> None:  # noqa: F811
    world = SqlWorld(postgresql_server, tmp_path)
    reading = read(
        world,
        """
        SELECT 1 AS id, 'ä' || :word AS word, 1.50::numeric AS decimal, 1.5::float8 AS double, 'NaN'::float8 AS nan,
            true AS yes, NULL AS nothing, ARRAY['a', NULL] AS list, 9007199254740993 AS large, :number::int + 1 AS sum,
            '2026-01-01 05:30:00.25+05:30'::timestamptz AS moment, 'infinity'::timestamptz AS never,
            '2026-01-01 05:30:00'::timestamp AS zoneless, '{"b": [1]}'::jsonb AS document, '10.0.0.0/8'::inet AS net
        """,
        word="'; DROP TABLE x; --", number=41,
    )  # fmt: skip
    (row,) = reading.rows
    assert row == {
        "id": 1, "word": "ä'; DROP TABLE x; --", "decimal": "1.50", "double": 1.5, "nan": "NaN", "yes": True,
        "nothing": None, "list": ["a", None], "large": 9007199254740993, "sum": 42, "moment": "2026-01-01T00:00:00.25Z",
        "never": "infinity", "zoneless": "2026-01-01 05:30:00", "document": {"b": [1]}, "net": "10.0.0.0/8",
    }  # fmt: skip
    (line,) = reading.ledger.lines
    assert (line["op"], line["status"], line["last"], line["caller"]) == (
        "postgresql:SELECT", 0, True, "auditor with file:password",
    )  # fmt: skip
    assert line["endpoint"] == f"localhost:{postgresql_server.port}/orders"
    body = reading.ledger.objects[line["sha256"]]
    document = orjson.loads(body)
    assert body == orjson.dumps(document, option=orjson.OPT_SORT_KEYS), "one spelling"
    assert document["columns"][:3] == [
        {"name": "id", "type": "int4"}, {"name": "word", "type": "text"}, {"name": "decimal", "type": "numeric"},
    ]  # fmt: skip
    assert (document["count"], document["command"]) == (1, "SELECT 1")


def test_values_of_mariadb_are_typed(mariadb_server: Running, tmp_path: Path) -> None:  # noqa: F811
    world = SqlWorld(mariadb_server, tmp_path)
    reading = read(
        world,
        """
        SELECT 1 AS id, CONCAT('ä%', :word) AS word, 1.50 AS decimal_, 1.5e0 AS double_, NULL AS nothing,
            9007199254740993 AS large_, :number + 1 AS sum_, FROM_UNIXTIME(1767225600) AS zoneless
        """,
        word="' OR 1 -- %", number=41,
    )  # fmt: skip
    (row,) = reading.rows
    assert row == {
        "id": 1, "word": "ä%' OR 1 -- %", "decimal_": "1.50", "double_": 1.5, "nothing": None,
        "large_": 9007199254740993, "sum_": 42, "zoneless": "2026-01-01 00:00:00",
    }  # fmt: skip
    document = orjson.loads(reading.ledger.objects[reading.ledger.lines[0]["sha256"]])
    assert [column["type"] for column in document["columns"][:4]] == ["int", "varchar", "decimal", "double"]
    assert (document["count"], document["command"]) == (1, None)
    mariadb_server.administer(
        "CREATE DATABASE moments", "CREATE TABLE moments.m (id int, t timestamp(3) NULL)",
        "INSERT INTO moments.m VALUES (1, FROM_UNIXTIME(1767225600.5))", "GRANT SELECT ON moments.* TO auditor@'%'",
    )  # fmt: skip
    try:
        asked = read(world, "SELECT id, t FROM moments.m", permissions=("SELECT ON moments.m",))
        assert asked.row("1")["t"] == "2026-01-01T00:00:00.500Z"
    finally:
        mariadb_server.administer("REVOKE SELECT ON moments.* FROM auditor@'%'", "DROP DATABASE moments")


def test_a_statement_runs_in_a_session_of_its_own_that_can_only_read(
    postgresql_server: Running,  # noqa: F811
    tmp_path: Path,
) -> None:
    world = SqlWorld(postgresql_server, tmp_path)
    sql = (
        "SELECT 1 AS id, pg_backend_pid() AS pid, current_setting('transaction_read_only') AS read_only, "
        "current_setting('statement_timeout') AS timeout, current_setting('search_path') AS path"
    )
    first, second = (read(world, sql).rows[0] for _ in range(2))
    assert first["pid"] != second["pid"]
    assert (first["read_only"], first["timeout"], first["path"]) == ("on", "30s", "pg_catalog")
    own = postgresql_server.server("postgres")
    answer = own.ask("INSERT INTO public.t VALUES (1) RETURNING 1", {}, world.limits)
    assert orjson.loads(answer.body)["error"]["code"] in ("25006", "42P01")
    answer = own.ask("CREATE TABLE public.t (id int)", {}, world.limits)
    assert orjson.loads(answer.body)["error"]["code"] == "25006"
    answer = own.ask("SELECT 1; SELECT 2", {}, world.limits)
    assert orjson.loads(answer.body)["error"]["code"] == "42601", "the protocol takes one statement"


def test_even_an_administrator_changes_nothing_through_mariadb(mariadb_server: Running) -> None:  # noqa: F811
    mariadb_server.administer("CREATE USER adm@'%' IDENTIFIED BY 'only-for-these-tests'", "GRANT ALL ON *.* TO adm@'%'")
    mariadb_server.administer("CREATE DATABASE kept", "CREATE TABLE kept.t (id int) ENGINE=InnoDB")
    try:
        own = mariadb_server.server("adm")
        answer = own.ask("INSERT INTO kept.t VALUES (1)", {}, Limits())
        assert orjson.loads(answer.body)["error"]["code"] == "1792"
        answer = own.ask("SELECT 1; SELECT 2", {}, Limits())
        assert orjson.loads(answer.body)["error"]["code"] == "1064"
    finally:
        mariadb_server.administer("DROP USER adm@'%'", "DROP DATABASE kept")


# What goes wrong


def gap_of(reading: Reading) -> tuple[str, str]:
    gap = reading.shard.population.gap
    assert gap is not None
    assert reading.rows == []
    return str(gap.kind), gap.reason


def kept(world: SqlWorld, reading: Reading) -> None:
    """A replay comes to the same gap from the record alone."""
    asked = len(world.asked)
    again = world.replay(reading)
    assert again.shard.population == reading.shard.population
    assert (again.unused, len(world.asked)) == ([], asked)


def test_a_statement_that_takes_too_long_is_cancelled(running: Running, tmp_path: Path) -> None:
    world = SqlWorld(running, tmp_path, Limits(timeout_s=0.6))
    slow = {
        "postgresql": "SELECT count(*) AS id FROM generate_series(1, 2000000000)",
        "mariadb": "SELECT COUNT(*) AS id FROM information_schema.COLUMNS a JOIN information_schema.COLUMNS b "
        "JOIN information_schema.COLUMNS c",
    }[running.kind]
    started = time.monotonic()
    reading = read(world, slow, permissions=("SELECT ON information_schema.COLUMNS",))
    kind, reason = gap_of(reading)
    assert kind == "timeout", reason
    assert "2 attempts" in reason
    assert time.monotonic() - started < 20, "it was waited for to the end"
    kept(world, reading)


def test_a_result_that_is_too_large_is_a_gap(running: Running, tmp_path: Path) -> None:
    world = SqlWorld(running, tmp_path, Limits(max_reply_bytes=4096))
    large = {
        "postgresql": "SELECT g AS id, repeat('x', 100) AS x FROM generate_series(1, 100000) AS g",
        "mariadb": "SELECT ORDINAL_POSITION AS id, COLUMN_NAME AS x FROM information_schema.COLUMNS",
    }[running.kind]
    reading = read(world, large, permissions=("SELECT ON information_schema.COLUMNS",))
    assert gap_of(reading)[0] == "oversized"
    kept(world, reading)


@pytest.mark.parametrize(
    ("account", "kind", "words"),
    [
        ({"password": "wrong"}, "unauthenticated", "the account is not let in"),
        ({"user": "ghost"}, "unauthenticated", "the account is not let in"),
        ({"host": "127.0.0.7"}, "unreachable", "refused"),
    ],
)
def test_who_is_not_let_in_gets_a_gap(
    running: Running, tmp_path: Path, account: dict[str, str], kind: str, words: str
) -> None:
    world = SqlWorld(running, tmp_path, **account)
    reading = read(world, "SELECT 1 AS id")
    assert gap_of(reading)[0] == kind
    assert words in gap_of(reading)[1]
    assert PASSWORD not in gap_of(reading)[1]
    assert len(world.asked) == (2 if kind == "unreachable" else 1), "a refusal is final"
    kept(world, reading)


def test_a_column_or_table_that_is_not_there_is_unsupported(running: Running, tmp_path: Path) -> None:
    world = SqlWorld(running, tmp_path)
    table = {"postgresql": "pg_roles", "mariadb": "information_schema.PLUGINS"}[running.kind]
    reading = read(world, f"SELECT no_such_column AS id FROM {table}", permissions=(f"SELECT ON {table}",))
    kind, reason = gap_of(reading)
    assert kind == "unsupported"
    assert "is not supported by this version" in reason
    kept(world, reading)


def test_a_certificate_that_is_not_trusted_ends_it_before_a_password_is_sent(running: Running, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    other.write_bytes(Authority().root.pem)
    world = SqlWorld(running, tmp_path)
    for server in (running.server(roots=other), running.server(tls=verified(None))):
        world._real = server
        kind, reason = gap_of(read(world, "SELECT 1 AS id"))
        assert kind == "rejected"
        assert "certificate" in reason
    world._real = running.server(host="127.0.0.1")  # trusted, and for another name
    kind, reason = gap_of(read(world, "SELECT 1 AS id"))
    assert (kind, "certificate" in reason) == ("rejected", True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("words", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n" * 9, b"N", b"\x00" * 64])
def test_what_is_no_database_is_a_gap_and_never_a_crash(tmp_path: Path, kind: str, words: bytes) -> None:
    def talk(connection: socket.socket) -> None:
        if words:
            connection.sendall(words)
        connection.settimeout(1)
        connection.recv(1 << 12)

    with peer(talk) as port:
        running = Running(kind, port, tmp_path, tmp_path)
        for tls in (verified(None), None):
            answer = running.server(tls=tls, host="127.0.0.1").ask("SELECT 1 AS id", {}, Limits(timeout_s=0.5))
            assert answer.failure in ("malformed", "unreachable", "rejected", "timeout"), answer
            assert answer.status is None


def test_a_server_without_tls_is_not_asked(tmp_path: Path) -> None:
    """What says no to TLS gets neither name nor password."""
    heard: list[bytes] = []

    def refusing(connection: socket.socket) -> None:
        heard.append(connection.recv(8))
        connection.sendall(b"N")
        heard.append(connection.recv(1 << 12))

    with peer(refusing) as port:
        server = Running("postgresql", port, tmp_path, tmp_path).server(tls=verified(None))
        answer = server.ask("SELECT 1 AS id", {}, Limits(timeout_s=2))
    assert (answer.failure, answer.detail) == ("rejected", "the server does not offer TLS")
    assert b"".join(heard) == bytes.fromhex("0000000804d2162f")


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer(0, b'{"columns":[],"rows":[{"id":1}],"count":2,"command":null}'), "truncated"),
        (Answer(0, b'{"columns":[],"rows":[{"id":1}],"count":1,"command":"SELECT 2"}'), "truncated"),
        (Answer(0, b'{"columns":[]'), "malformed"),
        (Answer(0, b"[]"), "malformed"),
        (Answer(0, b"{}"), "malformed"),
        (result([("id", "int4"), ("id", "int4")], [[1, 2]], "SELECT 1"), "malformed"),
        (refused("53300", "sorry"), "throttled"),
        (refused("57P01", "terminating"), "server-error"),
        (refused("XX000", "could not open file"), "server-error"),
        (refused("99999", "who knows"), "rejected"),
        (Answer(None, failure="unreachable", detail="the connection broke off"), "unreachable"),
    ],
)
def test_a_reply_that_is_not_whole_is_a_gap(
    postgresql_server: Running, tmp_path: Path, answer: Answer, kind: str  # noqa: F811
) -> None:
    world = SqlWorld(postgresql_server, tmp_path)
    world.faults["SELECT"] = answer
    reading = read(world, "SELECT 1 AS id")
    assert gap_of(reading)[0] == kind
    kept(world, reading)


def test_a_passing_failure_is_tried_again(postgresql_server: Running, tmp_path: Path) -> None:  # noqa: F811
    world = SqlWorld(postgresql_server, tmp_path)
    world.faults["SELECT"] = lambda: refused("57P03", "starting up") if len(world.asked) < 2 else None
    reading = read(world, "SELECT 7 AS id")
    assert [row["id"] for row in reading.rows] == [7]
    assert [line["attempt"] for line in reading.ledger.lines] == [1, 2]
    kept(world, reading)


def test_a_deferred_result_stands_in_its_row_and_a_refusal_too(postgresql_server: Running, tmp_path: Path) -> None:  # noqa: F811
    def things(database: Sql) -> Iterator[dict[str, Any]]:
        """Things."""
        yield {
            "id": "one",
            "good": database.attempt_rows("SELECT 1 AS a"),
            "bad": database.attempt_rows("SELECT count(*) AS a FROM pg_authid"),
        }

    world = SqlWorld(postgresql_server, tmp_path)
    permissions = ("SELECT ON pg_authid",)
    made = Source("postgresql.things", "id", "connection", permissions, "snapshot", (), things)
    reading = world.read_source(made)
    (row,) = reading.rows
    assert row["good"] == [{"a": 1}]
    with pytest.raises(Unavailable, match=r"42501: permission denied for table pg_authid"):
        row["bad"]
    assert reading.shard.population.proven
    kept(world, reading)


# Configuration


def declared(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(LEAST.replace("{name: here, kind: host}", text))
    return path


def test_the_configuration_names_server_account_and_roots(tmp_path: Path) -> None:
    text = (
        "{name: d, kind: postgresql, host: db.example.org:5432, database: orders, user: auditor, password: env:P, "
        "roots: r.pem}"
    )
    (connection,) = load(declared(tmp_path, text)).connections
    assert isinstance(connection, SqlConnection)
    assert (connection.kind, str(connection.host), connection.database, connection.user, connection.tls) == (
        "postgresql", "db.example.org:5432", "orders", "auditor", True,
    )  # fmt: skip
    assert connection.roots == tmp_path / "r.pem"
    text = "{name: d, kind: mariadb, host: '127.0.0.1:3306', user: auditor, password: env:P, tls: false}"
    (connection,) = load(declared(tmp_path, text)).connections
    assert isinstance(connection, SqlConnection)
    assert (connection.tls, connection.roots, connection.timeout_s) == (False, None, None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kind: postgresql, host: 'db.example.org:5432', tls: false", "unencrypted"),
        ("kind: postgresql, host: 'localhost:5432', tls: false", "unencrypted"),
        ("kind: mariadb, host: 'db.example.org:3306', database: shop", "belongs to the kind postgresql"),
        ("kind: mariadb, host: '127.0.0.1:3306', tls: false, roots: r.pem", "means nothing where tls is false"),
        ("kind: mariadb, host: 'db.example.org:99999'", "is not host:port"),
        ("kind: mariadb, host: db.example.org", "wrong form"),
    ],
)
def test_a_connection_that_would_not_be_safe_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        load(declared(tmp_path, f"{{name: d, {text}, user: auditor, password: env:P}}"))


def test_a_password_in_the_file_is_refused_and_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a literal value stands") as caught:
        load(declared(tmp_path, "{name: d, kind: mariadb, host: 'a.example.org:3306', user: u, password: hunter2}"))
    assert "hunter2" not in f"{caught.value.what}{caught.value.next_step}"


def test_both_are_collected_in_one_run_sealed_and_reperformed(
    postgresql_server: Running, mariadb_server: Running, tmp_path: Path  # noqa: F811
) -> None:
    office = Office(tmp_path / "office", "http://127.0.0.1:9")
    for name, running in (("pg", postgresql_server), ("maria", mariadb_server)):
        (office.folder / f"{name}.pem").write_bytes(running.roots.read_bytes())
        secret = office.folder / f"{name}.secret"
        secret.touch(mode=0o600)
        secret.write_text(f"{PASSWORD}\n")
    text = office.config.read_text()
    both = (
        f"connections:\n  - {{name: orders-db, kind: postgresql, host: 'localhost:{postgresql_server.port}', "
        "database: orders, user: auditor, password: file:pg.secret, roots: pg.pem}\n"
        f"  - {{name: shop-db, kind: mariadb, host: 'localhost:{mariadb_server.port}', user: auditor, "
        "password: file:maria.secret, roots: maria.pem}\n"
    )
    office.config.write_text(re.sub(r"^connections:\n(  .*\n)+", both, text, flags=re.MULTILINE))
    said = office.run("--json")
    assert said.code == 1, said.err
    assert said.json["counts"]["UNKNOWN"] == said.json["counts"]["ERROR"] == 0
    with office.sealed() as run:
        lines = list(run.replies())
    callers = {line["caller"] for line in lines}
    assert callers == {
        "auditor with file:pg.secret", "auditor with file:maria.secret", "auditor in orders", "auditor@%",
    }  # fmt: skip
    assert PASSWORD.encode() not in b"".join(files_of(office.store).values())
    assert office.verify().ok
    again = office.rerun()
    assert again.code == 0, again.err


def test_a_server_that_is_down_is_a_gap_of_the_run(tmp_path: Path) -> None:
    from collector.connect.base import Inline
    from collector.connect.wire import LiveWire
    from collector.model import Task
    from tests.worlds import MemoryLedger

    port = free_port()
    path = declared(
        tmp_path,
        f"{{name: d, kind: mariadb, host: '127.0.0.1:{port}', user: u, password: file:secret, tls: false, "
        "timeout_s: 1}",
    )
    (tmp_path / "secret").touch(mode=0o600)
    (tmp_path / "secret").write_text("x")
    import threading

    opener = opening.live(load(path), pool=Inline(), stop=threading.Event())
    view = opener(Task("mariadb.caller", "d"), LiveWire(Task("mariadb.caller", "d"), MemoryLedger()))
    assert isinstance(view, SqlView)
    assert view.limits.timeout_s == 1
    answer = view._send("SELECT 1 AS id", {})
    assert (answer.failure, answer.detail) == (str(GapKind.UNREACHABLE), "Connection refused")
