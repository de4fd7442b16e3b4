"""The connection string of the database: read, completed, named without its secrets, and judged."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from gateway.settings.secret import Secret

CONNECT_SECONDS: Final = 5
"""For each host of the DSN in turn: a dead one must not keep us from the next."""

_DEFAULTS: Final[Mapping[str, str]] = {
    "application_name": "meta-webhook-gateway",
    "connect_timeout": str(CONNECT_SECONDS),
    "target_session_attrs": "read-write",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",
}
"""What of the connection we state where the DSN does not. read-write: of several hosts, the primary."""
_FORCED: Final[Mapping[str, str]] = {"client_encoding": "UTF8"}
"""What we state whatever the DSN, the environment or the user's settings say: statements are written so."""

_SPLIT_PASSWORD: Final = re.compile(r"postgres(?:ql)?://[^?]*[@/][^?]*@")
"""Of a URI: an @ after another, or after the slash that ends the hosts."""

_FILES: Final = ("sslrootcert", "sslcert", "sslkey", "sslcrl", "passfile")
"""What of a DSN names a file."""
_NO_FILES: Final = frozenset({"", "system"})
"""`sslrootcert=system`: whatever CAs the TLS library was built to trust."""

_VERIFIED: Final = frozenset({"verify-full", "verify-ca"})
_ENCRYPTED: Final = "require"


def complete(dsn: Secret) -> str:
    """Return the connection string to use, with what it does not state itself."""
    text = dsn.reveal().decode()
    stated = conninfo_to_dict(text)
    return make_conninfo(text, **{**{key: _DEFAULTS[key] for key in _DEFAULTS.keys() - stated}, **_FORCED})


def check_dsn(dsn: Secret) -> str:
    """Return what is wrong with a DSN, not telling what it says; empty where it can be read."""
    try:
        text = dsn.reveal().decode()
        conninfo_to_dict(text)
        if _SPLIT_PASSWORD.match(text):
            # What follows the sign would be taken for the host, and told wherever that is told.
            return "has an unescaped @ or / in its user or password: write %40, %2F"
    except (psycopg.Error, UnicodeDecodeError):
        return "is not a connection string of PostgreSQL"
    return ""


def place_of(dsn: Secret) -> str:
    """Name the server and the database of a DSN, without its secrets."""
    if check_dsn(dsn):
        return "the database"
    parts = _parts(dsn)
    host = parts.get("host") or parts.get("hostaddr") or "the local socket"
    port = f":{parts['port']}" if parts.get("port") else ""
    return f"{parts.get('dbname') or 'the database'} on {host}{port}"


def missing_files(dsn: Secret) -> Iterator[tuple[str, str]]:
    """Yield the key and the path of each file that a sound DSN names and that is not there."""
    for key, value in _parts(dsn).items():
        if key in _FILES and value not in _NO_FILES and not Path(value).is_file():
            yield key, value


def doubt_about_tls(dsn: Secret) -> str:
    """Return what somebody between the gateway and the server of a sound DSN could do; empty: nothing.

    libpq's own `sslmode` is `prefer`: it encrypts where the server offers that, and asks nobody for a proof.
    """
    parts = _parts(dsn)
    mode = parts.get("sslmode", "")
    if (
        not any(map(_is_remote, _hosts(parts)))
        or mode in _VERIFIED
        # Checks by default, and there the name, too.
        or (not mode and parts.get("sslrootcert") == "system")
        # A service file may say more than is seen here.
        or (not mode and parts.get("service"))
        # The password's exchange then proves who ends the TLS (RFC 5802 section 6).
        or parts.get("channel_binding") == "require"
    ):
        return ""
    if mode == _ENCRYPTED:
        return "sslmode=require encrypts and proves nothing: whoever is in between may pose as the server"
    stated = f"sslmode={mode}" if mode else "no sslmode"
    return f"{stated}: whoever is in between may read and change what goes there, notifications among it"


def _parts(dsn: Secret) -> dict[str, str]:
    return {key: str(value) for key, value in conninfo_to_dict(dsn.reveal().decode()).items()}


def _hosts(parts: Mapping[str, str]) -> list[str]:
    return (parts.get("hostaddr") or parts.get("host") or "").split(",")


def _is_remote(host: str) -> bool:
    is_socket = not host or host.startswith(("/", "@"))
    return not is_socket and host != "localhost" and host != "::1" and not host.startswith("127.")
