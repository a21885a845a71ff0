"""What a directory says of the rights of whoever asks: Active Directory does, others need an overlay for it."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

from collector.connect.ldap import Ldap
from collector.doctor.rights import Rights

EFFECTIVE = ("allowedAttributesEffective", "allowedChildClassesEffective", "sDRightsEffective")
"""Computed for each reader (MS-ADTS 3.1.1.4.5): attributes it may write, entries it may make, parts of the access
rules it may write. They are left out where they would be empty."""
SHOWS = "allowedAttributes"
"""Every entry has it where the others are computed at all."""
MOST = 200
"""Entries directly below the base that are looked at."""


def rights(ldap: Ldap, kind: str) -> Rights:
    """What the base and the entries directly below it say that may be changed there."""
    unread = f"{kind} does not tell which attributes may not be read: they look absent"
    attributes = (SHOWS, *EFFECTIVE)
    base = ldap.entry(ldap.base, attributes=attributes)
    if not _values(base, SHOWS):
        return Rights(untold=(f"{kind} does not tell what this identity may write, nor what it may not read",))
    below = list(islice(ldap.entries("(objectClass=*)", attributes=attributes, scope="level"), MOST))
    return Rights(
        changes=tuple(right for entry in (base, *below) for right in _changes(entry)),
        untold=(unread,),
        fine=f"may write nothing of {ldap.base} and of the {len(below)} entries directly below it",
    )


def _changes(entry: Mapping[str, Any]) -> list[str]:
    """What may be changed of an entry, each kind of change once."""
    where = entry["dn"]
    written, made = _values(entry, EFFECTIVE[0]), _values(entry, EFFECTIVE[1])
    found = []
    if written:
        found.append(f"write {_first(written)} of {where}")
    if made:
        found.append(f"make {_first(made)} below {where}")
    if any(value != "0" for value in _values(entry, EFFECTIVE[2])):
        found.append(f"write the access rules of {where}")
    return found


def _first(names: list[str]) -> str:
    return names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def _values(entry: Mapping[str, Any], name: str) -> list[str]:
    """The values of an attribute; none where it did not come."""
    held = entry[name]
    return sorted(str(value) for value in held) if isinstance(held, list) else []
