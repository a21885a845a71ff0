"""What this machine listens on."""

import re
from collections.abc import Iterator
from ipaddress import IPv6Address, ip_address
from typing import Any

from collector.api import GapKind, Host, Record, Row, Unavailable, Verdict, check, fail, ok, skip, source

COMMAND = ("ss", "-H", "-l", "-t", "-u", "-n", "-p")


@source("host.sockets", key="Id", per="connection", permissions=("host:run " + " ".join(COMMAND),))
def sockets(host: Host) -> Iterator[Row]:
    """Every TCP and UDP socket that listens in the network name space of the collector.

    Names of processes are there as far as the collector may see them; no check needs them.
    """
    found: dict[str, dict[str, Any]] = {}
    for line in host.run(*COMMAND).splitlines():
        words = line.split()
        address, colon, port = words[4].rpartition(":") if len(words) > 4 else ("", "", "")
        if not colon or words[0] not in ("tcp", "udp"):
            raise Unavailable(GapKind.MALFORMED, f"ss wrote a line that is not understood: {line[:100]}")
        row = found.setdefault(
            f"{words[0]} {words[4]}",
            {"Netid": words[0], "Address": address.strip("[]"), "Port": port, "Processes": set()},
        )
        row["Processes"] |= set(re.findall(r'\("([^"]*)",pid=', line))
    for key, row in sorted(found.items()):
        yield {"Id": key, **row, "Processes": sorted(row["Processes"])}


@check(
    "host.sockets.listeners-declared",
    title="Only declared services listen on the network",
    severity="medium",
    each="host.sockets",
)
def listeners_declared(socket: Record, *, declared: tuple[str, ...] = ("tcp/22",)) -> Verdict:
    """A socket that other machines can reach is one of ``declared`` (``tcp/22``). A firewall is not considered.

    Source: ``ss -H -l -t -u -n -p``. Sockets on loopback addresses are skipped.
    Remedy: stop the service, bind it to 127.0.0.1, or declare it.
    """
    name = f"{socket['Netid']}/{socket['Port']}"
    if _loopback(socket["Address"]):
        return skip(f"{name} listens on {socket['Address']}, which only this machine can reach")
    by = f" ({', '.join(socket['Processes'])})" if socket["Processes"] else ""
    observed = f"{name} listens on {socket['Address']}{by}"
    return (
        ok(f"{observed} and is declared")
        if name in declared
        else fail(f"{observed}; declared are {', '.join(declared) or 'none'}")
    )


def _loopback(address: str) -> bool:
    host = address.partition("%")[0]
    if host == "*":
        return False
    parsed = ip_address(host)
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return (mapped or parsed).is_loopback
