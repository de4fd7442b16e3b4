"""What goes wrong with the database, as errors of ours: what has happened, and the next step.

Statements fail with an SQLSTATE. Of a connection that could not be made libpq hands on nothing but words: its
own, which are always the same, and the server's, which are in the server's language.
"""

import re
from typing import Final

from gateway.errors import GatewayError, SpoolBrokenError, SpoolUnavailableError

_BROKEN: Final = {
    "58030": "the disk of the database failed",
    "XX001": "the database is damaged",
    "XX002": "an index of the database is damaged",
    "42P01": "a table of the spool is missing",
    "42703": "a column of the spool is missing",
}
"""SQLSTATEs after which nothing may be tried again."""
_BROKEN_REMEDY: Final = "look at the server's log, and restore the database where it is needed"
UNAVAILABLE_REMEDY: Final = "see that the server runs and can be reached; nothing has to be restarted"

_READ_ONLY: Final = (
    "name the primary in spool.dsn, or all hosts; and see who has set default_transaction_read_only"
)
_TOO_MANY: Final = (
    "raise max_connections, or the user's CONNECTION LIMIT; a gateway needs four, a worker three"
)
_NO_DATABASE: Final = "create it, or correct spool.dsn"
_PASSWORD: Final = "correct the password in spool.dsn"  # noqa: S105 - what to do about one
_REFUSED: Final = "correct spool.dsn, or the server's pg_hba.conf"
_OWN_CERTIFICATE: Final = (
    "name a certificate for the user of spool.dsn, of a CA that the server trusts, in sslcert, and its key "
    "in sslkey"
)
_REMEDIES: Final = {
    "53100": ("the disk of the database is full", "free some space there; nothing has to be restarted"),
    "42501": (
        "the user has not the rights it needs",
        "let it own the schema `gateway`: run `gateway spool migrate` as the same user",
    ),
    "25006": ("the server is read-only", _READ_ONLY),
    "53300": ("the server takes no more connections", _TOO_MANY),
}
_SAID: Final = tuple(
    (re.compile(pattern, re.IGNORECASE), remedy)
    for pattern, remedy in (
        (
            "certificate verify failed",
            "name the file of the CA that has signed the server's certificate in sslrootcert; see that the "
            "certificate has not expired: openssl s_client -starttls postgres -connect HOST:PORT",
        ),
        (
            "does not match host name",
            "write the host in spool.dsn as the server's certificate has it (with "
            "hostaddr=ADDRESS beside it where that does not resolve), or have the certificate issued for it",
        ),
        (
            "server does not support SSL",
            "turn on `ssl` at the server; or write sslmode=disable, where nobody else is on the way there",
        ),
        (
            "root certificate file|root certificates? (is|store)|weak sslmode",
            "name the file of the server's CA, with its whole path, in sslrootcert of spool.dsn",
        ),
        (
            "private key|certificate file|sslkey|sslcert",
            "see sslcert and sslkey of spool.dsn: whole paths, readable by the gateway, the key by nobody "
            "else (0600), and both issued together",
        ),
        (
            "valid client certificate|certificate authentication|alert.*(certificate|unknown ca)",
            _OWN_CERTIFICATE,
        ),
        (
            r"no pg_hba\.conf entry.*no encryption",
            "write sslmode=verify-full, with sslrootcert, into spool.dsn",
        ),
        ("pg_hba|ident authentication|peer authentication", _REFUSED),
        ("password", _PASSWORD),
        (r"role .* does not exist", "create the user, or correct spool.dsn"),
        (r"database .* does not exist", _NO_DATABASE),
        (
            "too many connections|too many clients|connection slots are reserved|no more connections",
            _TOO_MANY,
        ),
        ("read-only|hot standby", _READ_ONLY),
        (
            "statement pooling mode|prepared statement",
            "set pool_mode = session in the pooler (PgBouncer), or name the server itself in spool.dsn",
        ),
        ("startup parameter", "name it in ignore_startup_parameters of the pooler (PgBouncer)"),
    )
)
"""In what libpq or the server says where there is no SQLSTATE: the first that is found."""

_FROM_FILE: Final = "password retrieved from file"

_CONTENDED: Final = frozenset({"42P07", "42710", "23505", "40P01", "40001"})
"""SQLSTATEs after which the same transaction may do better: a duplicate of what somebody else has just made,
a deadlock, a serialization failure."""
LOST: Final = frozenset({"57P01", "57P02", "57P03", "57P05", "25006", "25P03", "25P04", "26000"})
"""SQLSTATEs after which the connection is of no use: its server is going, or is no primary any more, or has
ended what lasted too long for it, or has forgotten what is prepared there."""


class LinkLostError(SpoolUnavailableError):
    """The connection is gone, or was never made; what a commit that was under way has done is not known."""


class LinkHungError(LinkLostError):
    """The server, or the network on the way there, gave no answer in time."""


class ContendedError(SpoolUnavailableError):
    """Another transaction was in the way; the whole of this one may be tried again at once."""


def trouble(state: str, said: str, *, lost: bool) -> GatewayError:
    """Return our error for one of PostgreSQL's.

    Args:
        state: SQLSTATE; empty where there is none.
        said: What libpq or the server says. It may quote a DSN only where that could not be read.
        lost: Whether the connection is of no use any more.
    """
    words = _told(said)
    where = f" ({state})" if state else ""
    if state in _BROKEN:
        return SpoolBrokenError(f"{_BROKEN[state]}: {words}{where}", remedy=_BROKEN_REMEDY)
    if state in _CONTENDED:
        return ContendedError(f"the database: {words}{where}", remedy=UNAVAILABLE_REMEDY)
    text, remedy = _REMEDIES.get(state) or (words, _remedy(said))
    kind = LinkLostError if lost else SpoolUnavailableError
    return kind(f"the database: {text}{where}", remedy=remedy)


def _remedy(said: str) -> str:
    return next((remedy for pattern, remedy in _SAID if pattern.search(said)), UNAVAILABLE_REMEDY)


def _told(said: str) -> str:
    """Return the first line, of several hosts a line of each; what else follows (DETAIL) may quote rows."""
    first, *others = said.splitlines() or ["no reason given"]
    hosts = [line.removeprefix("- ") for line in others if line.startswith("- host: ")]
    if len(hosts) > 1:
        return "; ".join(hosts)
    return ", ".join((first, *(line for line in others if line.startswith(_FROM_FILE))))
