"""LDAP server: who asks it, and what it does for those it does not know."""

import re
from collections.abc import Iterator

from collector.api import GapKind, Ldap, Record, Row, Unavailable, Verdict, check, fail, ok, source

REFUSED = (1, 8, 13, 32, 48, 50, 53)
"""Result codes of a server that shows nothing to nobody: from operationsError of Active Directory to noSuchObject."""


@source("ldap.caller", key="Id", per="connection", permissions=())
def caller(ldap: Ldap) -> Iterator[Row]:
    """The identity the directory knows this collector by."""
    yield {"Id": "caller", "Caller": ldap.whoami()}


@source("ldap.server", key="Id", per="connection", permissions=("read namingContexts", "read supportedLDAPVersion"))
def server(ldap: Ldap) -> Iterator[Row]:
    """The server: what it says of itself, what it shows to nobody, and what it says to a password without TLS."""
    yield {
        **ldap.entry("", attributes=("namingContexts", "supportedLDAPVersion")),
        "Id": "server",
        "Base": ldap.base,
        "AnonymousSearch": ldap.attempt_anonymous_search(),
        "ClearBind": ldap.attempt_clear_bind(),
    }


@check(
    "ldap.server.anonymous-refused",
    title="The LDAP server shows no entry to those who give no name",
    severity="medium",
    each="ldap.server",
)
def anonymous_refused(server: Record) -> Verdict:
    """A search of the whole tree without a name finds no entry.

    Source: a search (``(objectClass=*)`` under the base, one entry at most, no attributes) in a session that did not
    bind. ``disallow bind_anon`` alone does not stop it.
    Remedy: ``require authc``, or access rules that end in ``by * none``.
    """
    reply = server["AnonymousSearch"]
    told = f"{reply['resultCode']} {reply['result']}"
    if reply["entries"]:
        return fail("a search without a name is shown entries, limit none")
    if reply["resultCode"] not in (0, *REFUSED):
        raise Unavailable(GapKind.UNPROVEN, f"a search without a name was answered with {told}, which says nothing")
    return ok(f"a search without a name is shown no entry ({told})")


@check(
    "ldap.server.contexts-collected",
    title="All of the LDAP directory is collected",
    severity="medium",
    each="ldap.server",
)
def contexts_collected(server: Record, *, left_out: tuple[str, ...] = ()) -> Verdict:
    """Every tree that the server names lies under the base that is read, but those in ``left_out``.

    Source: ``namingContexts``, and the base of the connection. What lies on other servers is not seen.
    Remedy: add a connection for the other tree, or name it in ``left_out``.
    """
    base, *contexts = (_same(name) for name in (server["Base"], *server["namingContexts"]))
    known = {_same(name) for name in left_out}
    beside = [name for name in contexts if name not in known and not (name == base or name.endswith(f",{base}"))]
    if beside:
        return fail(f"not under {base}: {'; '.join(sorted(beside)[:10])}, limit none")
    return ok(f"all {len(contexts)} trees lie under {base}, or are left out by name")


def _same(name: str) -> str:
    """A name so spelt that equal ones are equal."""
    return re.sub(r"\s*([,=+])\s*", r"\1", name).lower()


@check(
    "ldap.server.clear-passwords-refused",
    title="The LDAP server looks at no password that comes without TLS",
    severity="high",
    each="ldap.server",
)
def clear_passwords_refused(server: Record) -> Verdict:
    """A bind with name and password over a connection without TLS is refused before the password is looked at.

    Source: a bind with an invented name and password, without TLS, at the port of the configuration, or at 389 where
    that is one of ldaps. ``confidentialityRequired`` and ``strongerAuthRequired`` are the refusals that are meant;
    ``invalidCredentials`` means that the password was looked at.
    Remedy: ``security simple_bind=128`` (OpenLDAP), or close the port.
    """
    reply = server["ClearBind"]
    if not reply["connected"]:
        return ok("no port without TLS is open")
    told = f"a bind without TLS is answered with {reply['resultCode']} {reply['result']}"
    if reply["resultCode"] in (8, 13):
        return ok(told)
    if reply["resultCode"] in (0, 32, 49):
        return fail(f"{told}, limit a refusal for want of TLS")
    raise Unavailable(GapKind.UNPROVEN, f"{told}, which says nothing about passwords")
