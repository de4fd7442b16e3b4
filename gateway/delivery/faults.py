"""Exceptions of the network -> one line for logs and dead letters, without a byte of what was sent or
received.

The texts of httpx quote headers and answers: a malformed `Authorization` would end up in a log (law 8). So
only the kinds of errors speak, and the operating system's and OpenSSL's own words.
"""

import os
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Final

_BY_NAME: Final = (
    # httpx's classes, told by name: the sender alone imports httpx
    ("LocalProtocolError", "the request cannot be sent: a configured header is malformed"),
    ("RemoteProtocolError", "the connection ended, or what came is not HTTP"),
    ("UnsupportedProtocol", "the target's URL is neither http nor https"),
    ("InvalidURL", "the target's URL is not valid"),
    ("ConnectError", "no connection"),
    ("ReadError", "the connection broke while the answer was awaited"),
    ("WriteError", "the connection broke while the request was sent"),
    ("UnicodeError", "the target's host name is not valid"),
)


def _tls(error: ssl.SSLError) -> str:
    reason = (error.reason or "handshake failed").replace("_", " ").lower()
    return f"TLS: {reason}"


_TELLING: Final[tuple[tuple[type[BaseException], Callable[..., str]], ...]] = (
    # most specific first: the certificate and name errors are SSLErrors, and those are OSErrors
    (ssl.SSLCertVerificationError, lambda e: f"TLS: certificate not accepted: {e.verify_message}"),
    (ssl.SSLError, _tls),
    (socket.gaierror, lambda e: f"host name not resolved: {e.strerror}".lower()),
    (OSError, lambda e: os.strerror(e.errno).lower() if e.errno else "connection failed"),
)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what caused it, outermost first; of a group (several addresses tried) the first."""
    current: BaseException | None = error
    seen: set[int] = set()
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        if isinstance(current, BaseExceptionGroup):
            current = current.exceptions[0]
            continue
        yield current
        current = current.__cause__ or current.__context__


def describe(error: BaseException) -> str:
    """Return one line: the innermost cause that the system names, else what kind of error it was."""
    chain = list(_chain(error))
    for cause in reversed(chain):
        for kind, tell in _TELLING:
            if isinstance(cause, kind) and (
                not isinstance(cause, OSError) or cause.errno is not None or kind is not OSError
            ):
                return tell(cause)
    names = {base.__name__ for base in type(error).__mro__}
    for name, text in _BY_NAME:
        if name in names:
            return text
    return f"no answer ({type(error).__name__})"
