"""Secrets on the command line: named, rather than written, since the process list shows what is written."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from gateway.cli.output import err
from gateway.errors import UsageError

SOURCES: Final = "env:NAME, file:PATH, or the path of a file that has it"


def read_reference(text: str, *, bare: Callable[[str], bytes]) -> bytes:
    """Read `env:NAME` or `file:PATH`; anything else is `bare`'s.

    Raises:
        UsageError: it is not there, or empty.
    """
    scheme, colon, rest = text.partition(":")
    if colon and scheme == "env":
        value = os.environ.get(rest, "")
        if not value:
            raise UsageError(f"the environment variable {rest} is not set, or empty", remedy=f"export {rest}")
        return os.fsencode(value)
    if colon and scheme == "file":
        return _read_file(Path(rest))
    return bare(text)


def file_or_plain(text: str) -> bytes:
    """Read a file that the argument names, else take it as it stands."""
    path = Path(text)
    if path.is_file():
        return _read_file(path)
    if "/" in text or path.suffix:  # a mistyped path would otherwise sign, and be answered 401
        raise UsageError("--secret names a file that does not exist", remedy=f"give {SOURCES}")
    err(f"note: a secret on the command line is seen in the process list; better: {SOURCES}")
    return text.encode()


def _read_file(path: Path) -> bytes:
    try:
        value = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", remedy=f"give {SOURCES}") from error
    value = value.removesuffix(b"\n").removesuffix(b"\r")
    if not value:
        raise UsageError(f"{path} is empty", remedy="put the secret in it")
    return value
