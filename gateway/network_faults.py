"""Exceptions of the network -> one line for logs and dead letters, without a byte of what was sent or
received.

The texts of httpx quote headers and answers: a malformed `Authorization` would end up in a log (law 8). So
only the kinds of errors speak, and the operating system's and OpenSSL's own words.
"""

import os
import socket
import ssl
from collections.abc import Iterator
from typing import Final

_BY_NAME: Final = (
    # httpx's classes, told by name: httpx is imported by its owners alone
    ("LocalProtocolError", "the request cannot be sent: a configured header is malformed"),
    ("RemoteProtocolError", "the connection ended, or what came is not HTTP"),
    ("UnsupportedProtocol", "the URL is neither http nor https"),
    ("InvalidURL", "the URL is not valid"),
    ("ConnectError", "no connection"),
    ("ReadError", "the connection broke while the answer was awaited"),
    ("WriteError", "the connection broke while the request was sent"),
    ("UnicodeError", "the host name is not valid"),
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
    for cause in reversed(list(_chain(error))):
        if words := _told_by_the_system(cause):
            return words
    names = {base.__name__ for base in type(error).__mro__}
    for name, text in _BY_NAME:
        if name in names:
            return text
    return f"no answer ({type(error).__name__})"


def _told_by_the_system(error: BaseException) -> str | None:
    match error:
        case ssl.SSLCertVerificationError(verify_message=message):
            return f"TLS: certificate not accepted: {message}"
        case ssl.SSLError():
            reason = getattr(error, "reason", None) or "handshake failed"
            return f"TLS: {reason.replace('_', ' ').lower()}"
        case socket.gaierror(strerror=text):
            return f"host name not resolved: {text}".lower()
        case OSError(errno=int(number)):
            return os.strerror(number).lower()
    return None
