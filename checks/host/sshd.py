"""The SSH server of this machine: its effective settings, and the conditions under which they differ."""

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from posixpath import dirname, join, split
from typing import Any

from collector.api import GapKind, Host, Record, Refused, Row, Unavailable, Verdict, check, fail, ok, source

CONFIG = "/etc/ssh/sshd_config"
ALIASES = {"challengeresponseauthentication": "kbdinteractiveauthentication"}
"""Names that OpenSSH before 8.7 used."""


@source(
    "host.sshd",
    key="Id",
    per="connection",
    permissions=(
        "host:run sshd -T",
        f"host:read {CONFIG}*",
        "host:list /etc/ssh",
        "host:list /etc/ssh/*",
        "host:read /etc/ssh/*/*",
        "host:list /etc/crypto-policies/back-ends",
        "host:read /etc/crypto-policies/back-ends/opensshserver.config",
    ),
)
def server(host: Host) -> Iterator[Row]:
    """The SSH server as it would start from its usual configuration file, with every Match block of its files.

    An Include of a file that is neither in a folder below /etc/ssh nor of the crypto policies is not followed: the host
    keys beside the configuration are not to be read.
    """
    settings = host.attempt_run("sshd", "-T")
    if isinstance(settings, Refused):
        yield {"Id": "sshd", "sshd -T": settings, "Match": settings}
    else:
        yield {"Id": "sshd", "sshd -T": _settings(settings), "Match": list(_blocks(host, CONFIG, ""))}


def _settings(text: str) -> dict[str, str]:
    """Keyword and value, the first where a keyword stands more than once, as the server does it."""
    settings: dict[str, str] = {}
    for line in text.splitlines():
        keyword, _, value = line.partition(" ")
        settings.setdefault(ALIASES.get(keyword, keyword), value)
    return settings


def _blocks(host: Host, path: str, criteria: str, depth: int = 0) -> Iterator[dict[str, Any]]:
    """The settings of each Match block; an included file starts under the criteria of its Include line."""
    if depth > 16:
        raise Unavailable(GapKind.PAGE_CAP, f"{path} is included more than 16 levels deep")
    block: dict[str, str] = {}
    for line in host.read(path).splitlines():
        keyword, _, value = re.sub(r"^(\w+)\s*(?:=|\s)\s*", r"\1 ", line.strip()).partition(" ")
        match keyword.lower(), value.strip():
            case ("", _):
                continue
            case ("match", conditions):
                if criteria and block:
                    yield {"File": path, "Criteria": criteria, "Settings": block}
                criteria, block = conditions, {}
            case ("include", patterns):
                for pattern in re.findall(r'"[^"]+"|\S+', patterns):
                    for included in _glob(host, join(dirname(CONFIG), pattern.strip('"'))):
                        yield from _blocks(host, included, criteria, depth + 1)
            case (name, text) if not name.startswith("#"):
                block.setdefault(ALIASES.get(name, name), text.strip('"'))
    if criteria and block:
        yield {"File": path, "Criteria": criteria, "Settings": block}


def _glob(host: Host, pattern: str) -> Iterator[str]:
    folder, name = split(pattern)
    if re.search(r"[*?\[]", folder):
        raise Unavailable(
            GapKind.UNSUPPORTED, f"the Include of {pattern} has a wild card in its folder, which is not read"
        )
    for entry in host.list(folder, absent_ok=True) or ():
        if fnmatchcase(entry, name) and not entry.startswith("."):
            yield join(folder, entry)


def _loosened(server: Record, keyword: str, allowed: tuple[str, ...]) -> list[str]:
    """Where the keyword has another value than the allowed ones: in general, or in a Match block."""
    places = [("", server["sshd -T"][keyword])]
    for block in server["Match"]:
        if keyword in block["Settings"]:
            places.append((f" for Match {block['Criteria']}", block["Settings"][keyword]))
    return [f"{keyword} is {value}{where}" for where, value in places if value.lower() not in allowed]


@check(
    "host.sshd.no-root-login",
    title="SSH does not admit root",
    severity="high",
    each="host.sshd",
)
def no_root_login(server: Record) -> Verdict:
    """``PermitRootLogin`` is ``no``, in general and in every Match block.

    Source: ``sshd -T`` (permitrootlogin) and the Match blocks of the configuration files.
    Remedy: set ``PermitRootLogin no`` and log in with a personal account.
    """
    loosened = _loosened(server, "permitrootlogin", ("no",))
    return fail("; ".join(loosened) + "; the limit is no") if loosened else ok("permitrootlogin is no")


@check(
    "host.sshd.no-password-login",
    title="SSH does not accept passwords",
    severity="high",
    each="host.sshd",
)
def no_password_login(server: Record) -> Verdict:
    """Neither password nor keyboard-interactive authentication is on, in general or in a Match block.

    Source: ``sshd -T`` (passwordauthentication, kbdinteractiveauthentication) and the Match blocks.
    Keyboard-interactive may stand for a second factor; whoever uses it so should waive this check.
    Remedy: set ``PasswordAuthentication no`` and ``KbdInteractiveAuthentication no``.
    """
    keywords = ("passwordauthentication", "kbdinteractiveauthentication")
    loosened = [text for keyword in keywords for text in _loosened(server, keyword, ("no",))]
    return (
        fail("; ".join(loosened) + "; the limit is no")
        if loosened
        else ok("password and keyboard-interactive authentication are off")
    )


@check(
    "host.sshd.strong-ciphers",
    title="SSH offers no weak algorithm",
    severity="medium",
    each="host.sshd",
)
def strong_ciphers(
    server: Record,
    *,
    weak: tuple[str, ...] = (
        "*-cbc", "*-cbc@*", "arcfour*", "hmac-md5*", "hmac-ripemd160*", "hmac-sha1-96*", "diffie-hellman-group1-sha1",
        "diffie-hellman-group14-sha1", "diffie-hellman-group-exchange-sha1",
    ),
) -> Verdict:  # fmt: skip
    """None of the offered ciphers, MACs and key exchanges matches a pattern of ``weak``.

    Source: ``sshd -T`` (ciphers, macs, kexalgorithms).
    Remedy: drop the ``Ciphers``, ``MACs`` and ``KexAlgorithms`` lines that add them, or upgrade OpenSSH.
    """
    settings = server["sshd -T"]
    offered = [name for keyword in ("ciphers", "macs", "kexalgorithms") for name in settings[keyword].split(",")]
    found = [name for name in offered if any(fnmatchcase(name, pattern) for pattern in weak)]
    return (
        fail(f"weak algorithms are offered: {', '.join(found)}")
        if found
        else ok(f"{len(offered)} algorithms are offered, none of them weak")
    )
