"""Faults, put into recorded replies: what each kind of system answers when something is wrong.

A fault takes the lines of a task and gives other ones, or ``None`` where it does not apply to that reply: nobody
refuses to tell the time, a page that is the only one is not repeated.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tests.fault_worlds import Line, World, request_of
from tests.test_estate import refusal

FOR_EVER = 12
"""More replies than there are attempts."""

Spoilt = tuple[int | None, bytes, str, str]
"""Status, body, kind of failure and its detail."""
Fault = Callable[[World, Sequence[Line], int, random.Random], Sequence[Line] | None]
"""The lines of a task with a fault in the reply at an index; ``None`` where it does not apply."""

HTTP = ("okta", "entra", "google-workspace", "keycloak", "github", "gitlab", "jira", "kubernetes")
DIRECTORIES = ("ldap", "active-directory")
DATABASES = ("postgresql", "mariadb")

OURS = ("collector:clock", "tls:endpoints")
"""Told by nobody but us."""
ANSWERS = ("search-anonymously", "bind-in-clear", "whoami")
"""Requests to a directory for which a refusal is an answer."""

PORTAL = (
    b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body><br>This network needs you to sign in</body>"
)

REFUSED: Mapping[str, Any] = {
    "okta": {"errorCode": "E0000006", "errorSummary": "no"},
    "entra": {"error": {"code": "Authorization_RequestDenied", "message": "no"}},
    "google-workspace": {"error": {"code": 403, "message": "no", "errors": [{"reason": "forbidden"}]}},
    "keycloak": {"error": "HTTP 403 Forbidden"},
    "github": {"message": "Resource not accessible by personal access token", "status": "403"},
    "gitlab": {"message": "403 Forbidden"},
    "jira": {"errorMessages": ["no"], "errors": {}},
    "kubernetes": {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Forbidden", "code": 403,
    },
}  # fmt: skip
SQL_CODES = {
    "postgresql": {"deny": "42501", "throttle": "53300", "fail_500": "XX000", "close": "28000"},
    "mariadb": {"deny": "1142", "throttle": "1040", "fail_500": "1053", "close": "1045"},
}
LDAP_RESULTS = {
    "deny": (50, "insufficientAccessRights"), "throttle": (51, "busy"), "fail_500": (80, "other"),
    "close": (49, "invalidCredentials"),
}  # fmt: skip


def _spoilt(kind: str, what: str, line: Line) -> Spoilt | None:
    """How a system of that kind says it; ``None`` where it does not say such a thing."""
    if kind == "aws":
        return _of_aws(what, line)
    if kind in HTTP:
        status = {"deny": 403, "throttle": 429, "fail_500": 500, "close": 401}[what]
        return status, b"oops" if what == "fail_500" else json.dumps(REFUSED[kind]).encode(), "", ""
    if kind in DATABASES:
        return 1, json.dumps({"error": {"code": SQL_CODES[kind][what], "message": "no"}}).encode(), "", ""
    if kind in DIRECTORIES:
        if what == "deny" and line["op"].endswith(ANSWERS):
            return None
        code, name = LDAP_RESULTS[what]
        told: dict[str, Any] = {
            "resultCode": code, "result": name, "matchedDN": "", "diagnosticMessage": "no", "referrals": [],
            "entries": [], "references": [], "cookie": None, **({"operation": "bind"} if what == "close" else {}),
        }  # fmt: skip
        return code, json.dumps(told).encode(), "", ""
    return _of_machine(kind, what, line)


def _of_aws(what: str, line: Line) -> Spoilt | None:
    status, body = refusal(line)
    if what == "throttle":
        for code in (b"AccessDeniedException", b"AccessDenied", b"UnauthorizedOperation"):
            body = body.replace(code, b"ThrottlingException")
        return 429, body, "", ""
    if what == "close":
        for code in (b"AccessDeniedException", b"AccessDenied", b"UnauthorizedOperation"):
            body = body.replace(code, b"ExpiredToken")
        return 401, body, "", ""
    return (500, b"oops", "", "") if what == "fail_500" else (status, body, "", "")


def _of_machine(kind: str, what: str, line: Line) -> Spoilt | None:
    """Files, programs and handshakes fail without a status."""
    if what == "deny":
        word = "rejected" if kind == "tls" else "denied"
        return None, b"", word, "no handshake (access denied)" if kind == "tls" else "access was denied"
    if what == "close" and line["op"] in ("tls:handshake", "tls:head"):
        return None, b"", "unreachable", "the server closed the connection"
    if what == "fail_500" and line["op"] == "host:run":
        return 77, b"", "", "it broke"
    if what == "fail_500" and line["op"].startswith(("host:", "register:")):
        return None, b"", "rejected", "Input/output error"
    return None


def other(world: World, line: Line, spoilt: Spoilt) -> Line:
    """A line with another reply on it."""
    status, body, failure, detail = spoilt
    name = f"altered-{hashlib.sha256(body).hexdigest()}"
    world.bodies[name] = body
    headers = {"content-type": line["media"] or ""}
    if status == 200 and "link" in line["headers"]:
        headers["link"] = line["headers"]["link"]
    return {
        **line, "status": status, "sha256": None if status is None else name, "headers": headers, "failure": failure,
        "detail": detail,
    }  # fmt: skip


def with_body(world: World, line: Line, body: bytes) -> Line:
    """A line whose reply has another body, and is otherwise as it was."""
    return other(world, line, (line["status"], body, line.get("failure", ""), line.get("detail", "")))


def replaced(lines: Sequence[Line], at: int, *instead: Line) -> list[Line]:
    """The lines with others in the place of one."""
    return [*lines[:at], *instead, *lines[at + 1 :]]


def _says(what: str, times: int) -> Fault:
    def fault(world: World, lines: Sequence[Line], at: int, _: random.Random) -> Sequence[Line] | None:
        spoilt = None if lines[at]["op"] in OURS else _spoilt(world.kind, what, lines[at])
        return replaced(lines, at, *[other(world, lines[at], spoilt)] * times) if spoilt else None

    fault.__name__ = what
    return fault


deny = _says("deny", 1)
close = _says("close", FOR_EVER)
"""The credential does not hold any more, or the other side hangs up."""
throttle = _says("throttle", FOR_EVER)
fail_500 = _says("fail_500", FOR_EVER)


def time_out(world: World, lines: Sequence[Line], at: int, _: random.Random) -> Sequence[Line] | None:
    if lines[at]["op"] in OURS:
        return None
    return replaced(lines, at, *[other(world, lines[at], (None, b"", "timeout", "no answer"))] * FOR_EVER)


def truncate(world: World, lines: Sequence[Line], at: int, chance: random.Random) -> Sequence[Line] | None:
    """Part of the body, where the format tells part from whole."""
    line, body = lines[at], world.body(lines[at]).rstrip()
    if len(body) < 2 or line["op"] in OURS or line["op"] == "register:git-log":
        return None
    if world.kind in HTTP and line["status"] != 200:
        return None  # of a refusal the status is enough
    if world.kind in (*HTTP, "aws") and re.fullmatch(rb"-?\d+|null|true|false", body):
        return None  # part of a number is a number: the length that HTTP announces tells, and that is the transport's
    end = chance.randrange(1, len(body))
    if line["op"] == "tls:hello":  # of TLS 1.3 nothing is read after the first record, which is all that is not hidden
        end = chance.randrange(1, min(len(body), 5 + int.from_bytes(body[3:5], "big")))
    if line["op"] == "register:read":
        if not str(line["params"]["path"]).endswith(".csv"):
            return None
        end = body.rindex(b",", 0, body.rindex(b",", 0, end) if body.count(b",", 0, end) > 1 else len(body))
    elif line["op"] in ("host:read", "host:run") or line["op"] == "tls:roots":
        return None  # a text has no mark of its end
    return replaced(lines, at, with_body(world, line, body[:end]))


def foreign_page(world: World, lines: Sequence[Line], at: int, _: random.Random) -> Sequence[Line] | None:
    line = lines[at]
    if world.kind in (*HTTP, "aws"):
        return replaced(lines, at, other(world, line, (200, PORTAL, "", ""))) if line["status"] == 200 else None
    if world.kind in DATABASES or (line["op"] == "register:read" and line["params"]["path"].endswith(".csv")):
        return replaced(lines, at, with_body(world, line, PORTAL)) if line["status"] is not None else None
    return None


def drop_page(world: World, lines: Sequence[Line], at: int, _: random.Random) -> Sequence[Line] | None:
    again = [line for line in lines if request_of(line) == request_of(lines[at])]
    return None if len(again) > 1 else replaced(lines, at)  # polling: fewer answers are no fault


def before(lines: Sequence[Line], at: int) -> Line | None:
    """The page before that of a line, in the same list."""
    line = lines[at]
    same = (one for one in lines if (one["op"], one["params"]) == (line["op"], line["params"]))
    return next((one for one in same if line["tokenIn"] and one["tokenOut"] == line["tokenIn"]), None)


def repeat_page(world: World, lines: Sequence[Line], at: int, _: random.Random) -> Sequence[Line] | None:
    line, first = lines[at], before(lines, at)
    if first is None or not world.body(line).strip(b" []\n"):
        return None
    return replaced(lines, at, {**line, "sha256": first["sha256"], "headers": first["headers"]})


TOKEN = re.compile(
    rb'("(?:nextToken|NextToken|Marker|NextMarker|nextMarker|nextPageToken|continue|cookie|@odata\.nextLink)"'
    rb'\s*:\s*")([^"]{1,})(")'
    rb"|(<(?:NextToken|Marker|NextMarker|nextToken|NextContinuationToken)>)([^<]{2,})(<)"
    rb'|("next"\s*:\s*\{\s*"href"\s*:\s*")([^"]+)(")'
)
NEXT = re.compile(r"(<[^>]*)[^>](>;\s*rel=\"next\")")


def _shorter(token: bytes) -> bytes:
    return token[:-1] or b"z"


def cut_token(world: World, lines: Sequence[Line], at: int, _: random.Random) -> Sequence[Line] | None:
    line = lines[at]
    if not line["tokenOut"]:
        return None
    body = world.body(line)
    cut = TOKEN.sub(lambda m: (m[1] or m[4] or m[7]) + _shorter(m[2] or m[5] or m[8]) + (m[3] or m[6] or m[9]), body)
    link = NEXT.sub(r"\1\2", line["headers"].get("link", ""))
    if cut == body and link == line["headers"].get("link", ""):
        return None
    headers = {**line["headers"], **({"link": link} if link else {})}
    return replaced(lines, at, {**with_body(world, line, cut), "headers": headers})


def left_out_page(world: World, lines: Sequence[Line], at: int, _: random.Random) -> Sequence[Line] | None:
    """The page after the one that was asked for: seen where the pages count what is left, or what there is."""
    body, first = world.body(lines[at]), before(lines, at)
    if first is None or not re.search(rb'"remainingItemCount":|"startAt":', world.body(first)):
        return None
    rest = [n for n, one in enumerate(lines) if before(lines, n) is lines[at]]
    if not rest or not re.search(rb'"remainingItemCount":|"startAt":', body):
        return None
    following = lines[rest[0]]
    return replaced(lines, at, {**lines[at], "sha256": following["sha256"], "headers": following["headers"]})


def expired(world: World, lines: Sequence[Line], at: int, _: random.Random) -> Sequence[Line] | None:
    """410 Gone in the middle of a list, every time it is begun anew."""
    if world.kind != "kubernetes" or (first := before(lines, at)) is None:
        return None
    told = {**REFUSED["kubernetes"], "reason": "Expired", "code": 410}
    gone = other(world, lines[at], (410, json.dumps(told).encode(), "", ""))
    pages = [first]
    while (earlier := before(lines, lines.index(pages[0]))) is not None:
        pages.insert(0, earlier)
    again = [*pages, gone] * 3
    return [one for one in lines if one not in pages and one is not lines[at]] + again


def cut_off(world: World, lines: Sequence[Line], at: int, chance: random.Random) -> Sequence[Line] | None:
    """A directory stops in the middle: a limit, a part that lies elsewhere, no word on whether there is more."""
    line = lines[at]
    if world.kind not in DIRECTORIES or not line["op"].endswith(":search") or line["status"] != 0:
        return None
    told = json.loads(world.body(line))
    if line["params"].get("size") is None:
        told |= {"references": ["ldap://elsewhere.example/"]}
    else:
        told |= chance.choice(
            (
                {"resultCode": 4, "result": "sizeLimitExceeded"}, {"resultCode": 11, "result": "adminLimitExceeded"},
                {"references": ["ldap://elsewhere.example/"]}, {"cookie": None},
            )
        )  # fmt: skip
    return replaced(lines, at, with_body(world, line, json.dumps(told).encode()))


def absent(world: World, lines: Sequence[Line], at: int, _: random.Random) -> Sequence[Line] | None:
    """A file or a program that the answer cannot do without is not there."""
    line = lines[at]
    if line["op"] == "host:run":
        return replaced(lines, at, other(world, line, (None, b"", "absent-program", "there is no such program")))
    if line["op"] == "register:read" and line["params"]["path"] != "documents.csv":
        return replaced(lines, at, other(world, line, (None, b"", "rejected", "there is no such file")))
    return None


def drop_row(world: World, lines: Sequence[Line], at: int, chance: random.Random) -> Sequence[Line] | None:
    """A result of a database, one row short of what was counted."""
    if world.kind not in DATABASES:
        return None
    told = json.loads(world.body(lines[at]))
    if not told.get("rows"):
        return None
    del told["rows"][chance.randrange(len(told["rows"]))]
    return replaced(lines, at, with_body(world, lines[at], json.dumps(told).encode()))


DETECTABLE: tuple[Fault, ...] = (
    deny, close, throttle, fail_500, time_out, truncate, foreign_page, drop_page, repeat_page, cut_token, left_out_page,
    expired, cut_off, absent, drop_row,
)  # fmt: skip
OF_PAGES: tuple[Fault, ...] = (repeat_page, cut_token, drop_page, truncate, left_out_page, expired)


# -------------------------------------------------------------------------------------- what only a witness finds out


ALONE = ("servicePrincipalName",)
"""In Active Directory a witness speaks for an attribute that entries may lack; where a rule denies this one alone and
not the property set they share, nothing shows it (see ``collector/connect/ldap.py``)."""


def hide(world: World, lines: Sequence[Line], at: int, chance: random.Random) -> Sequence[Line] | None:
    """One attribute of one entry of a directory, as rules of access hide it."""
    line = lines[at]
    if world.kind not in DIRECTORIES or not line["op"].endswith(":search") or line["status"] != 0:
        return None
    told = json.loads(world.body(line))
    spoken_for = ALONE if world.kind == "active-directory" else ()
    held = [(one, name) for one in told["entries"] for name in sorted(one["attributes"]) if name not in spoken_for]
    if not held:
        return None
    entry, name = chance.choice(held)
    del entry["attributes"][name]
    return replaced(lines, at, with_body(world, line, json.dumps(told).encode()))


def not_found(world: World, lines: Sequence[Line], at: int, _: random.Random) -> Sequence[Line] | None:
    """404 in place of a refusal, as GitHub and GitLab do it."""
    line = lines[at]
    if world.kind not in HTTP or line["op"] in OURS or line["status"] != 200:
        return None
    told = {"message": "Not Found"} if world.kind in ("github", "gitlab") else REFUSED[world.kind]
    return replaced(lines, at, other(world, line, (404, json.dumps(told).encode(), "", "")))


def another_document(world: World, lines: Sequence[Line], at: int, _: random.Random) -> Sequence[Line] | None:
    """A portal that speaks JSON."""
    line = lines[at]
    if world.kind not in HTTP or line["op"] in OURS or line["status"] != 200:
        return None
    return replaced(lines, at, other(world, line, (200, b'{"message": "Welcome", "next": "/sign-in"}', "", "")))


DOUBTFUL: tuple[Fault, ...] = (hide, not_found, another_document)
"""May stand for a true answer, so that a gap is not always right: but they turn nothing into a PASS."""


def injections(
    worlds: Sequence[World], chance: random.Random, faults: Sequence[Fault] = DETECTABLE, rounds: int = 2
) -> Iterator[tuple[World, Any, int, Fault, Sequence[Line]]]:
    """Every fault of a page in a list of several; each fault in each dataset, ``rounds`` times by chance."""
    for world in worlds:
        for task, lines in world.lines.items():
            for at, line in enumerate(lines):
                for fault in OF_PAGES if line["tokenIn"] or line["tokenOut"] else ():
                    if fault in faults and (made := fault(world, lines, at, chance)) is not None:
                        yield world, task, at, fault, made
            for fault in faults:
                done = 0
                for at in chance.sample(range(len(lines)), len(lines)):
                    if done < rounds and (made := fault(world, lines, at, chance)) is not None:
                        yield world, task, at, fault, made
                        done += 1
