"""A host and a port, and whether only this machine can reach them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a port; ``str`` gives ``host:port``."""

    host: str
    """Name or address; an IPv6 address stands without brackets."""
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """The address that ``host:port`` or ``[IPv6]:port`` spells.

        Raises:
            ValueError: it spells none, or the port is not within 1-65535.
        """
        host, colon, port = text.rpartition(":")
        if not colon or not host or not re.fullmatch("[0-9]{1,5}", port) or not 1 <= int(port) <= 65535:
            raise ValueError("not host:port with a port within 1-65535")
        if host.startswith("[") and host.endswith("]"):
            host = str(ip_address(host[1:-1]))
        elif ":" in host:
            raise ValueError("an IPv6 address stands in brackets")
        return cls(host, int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def is_loopback(host: str) -> bool:
    """True for an address only this machine can reach; a name is not an address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
