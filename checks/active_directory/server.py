"""Domain controllers: who asks them, and what they do for those they do not know."""

from collections.abc import Iterator

from collector.api import GapKind, Ldap, Record, Row, Unavailable, Verdict, check, fail, ok, source

REFUSED = (1, 8, 13, 32, 48, 50, 53)
"""Result codes of a server that shows nothing to nobody: from operationsError of Active Directory to noSuchObject."""


@source("active-directory.caller", key="Id", per="connection", permissions=())
def caller(ldap: Ldap) -> Iterator[Row]:
    """The identity the domain knows this collector by."""
    yield {"Id": "caller", "Caller": ldap.whoami()}


@source(
    "active-directory.server",
    key="Id",
    per="connection",
    permissions=("read namingContexts", "read supportedLDAPVersion"),
)
def server(ldap: Ldap) -> Iterator[Row]:
    """The controller that is asked: what it says of itself, shows to nobody, and answers to a password without TLS."""
    yield {
        **ldap.entry("", attributes=("namingContexts", "supportedLDAPVersion")),
        "Id": "server",
        "AnonymousSearch": ldap.attempt_anonymous_search(),
        "ClearBind": ldap.attempt_clear_bind(),
    }


@check(
    "active-directory.server.anonymous-refused",
    title="The domain controller shows no entry to those who give no name",
    severity="medium",
    each="active-directory.server",
)
def anonymous_refused(server: Record) -> Verdict:
    """A search of the whole tree without a name finds no entry.

    Source: a search (``(objectClass=*)`` under the base, one entry at most, no attributes) in a session that did not
    bind. Active Directory shows the root of its own
    information to everybody; that is not searched.
    Remedy: clear the seventh character of ``dSHeuristics``, and take Anonymous Logon out of Pre-Windows 2000 Compatible
    Access.
    """
    reply = server["AnonymousSearch"]
    told = f"{reply['resultCode']} {reply['result']}"
    if reply["entries"]:
        return fail("a search without a name is shown entries, limit none")
    if reply["resultCode"] not in (0, *REFUSED):
        raise Unavailable(GapKind.UNPROVEN, f"a search without a name was answered with {told}, which says nothing")
    return ok(f"a search without a name is shown no entry ({told})")


@check(
    "active-directory.server.clear-passwords-refused",
    title="The domain controller looks at no password that comes without TLS",
    severity="high",
    each="active-directory.server",
)
def clear_passwords_refused(server: Record) -> Verdict:
    """A bind with name and password over a connection without TLS is refused before the password is looked at.

    Source: a bind with an invented name and password, without TLS, at the port of the configuration, or at 389 where
    that is one of ldaps. ``confidentialityRequired`` and ``strongerAuthRequired`` are the refusals that are meant;
    ``invalidCredentials`` means that the password was looked at.
    Remedy: require signing for the LDAP server (group policy), and have clients use TLS.
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
