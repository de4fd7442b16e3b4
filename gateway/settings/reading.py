"""What every reader of a value shares: its context, its way to complain, and how it opens a file."""

import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pydantic import ValidationInfo
from pydantic_core import PydanticCustomError

from gateway.settings.files import NO_FILE, digest, read_within
from gateway.settings.missing_files import ABSENT

FAULT: Final = "gateway_fault"
"""The error type of our own faults among pydantic's."""
_SHOWN_CHARACTERS: Final = 60
"""A value in a message is cut here: enough to recognise it, short enough for one line."""
_LARGEST_BYTES: Final = 1024**2
"""A secret or a list of ids beyond 1 MiB is the wrong file (or /dev/zero)."""
_CREDENTIALS: Final = "$CREDENTIALS_DIRECTORY"
"""Begins the path of what systemd has passed on by LoadCredential= (systemd.exec(5)): it changes with the
name of the unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a reader must know beside the text; passed as pydantic's validation context."""

    base: Path
    """Absolute directory of the configuration file: relative paths start here."""
    environ: Mapping[str, str]
    with_secrets: bool
    """False: secrets are neither looked up nor opened."""
    with_lists: bool = True
    """False: lists of ids in files of their own are not opened, and stand for any id."""
    opened: dict[Path, str] = field(default_factory=dict, repr=False)
    """Every file that a `file:` key names -> the digest of what was read."""


def reading(info: ValidationInfo) -> Reading:
    """Return the context of the load, or a bare one where Python code builds a model by hand."""
    if isinstance(info.context, Reading):
        return info.context
    return Reading(base=Path.cwd(), environ={}, with_secrets=True)


def fault(message: str, remedy: str, *, at: tuple[str | int, ...] = ()) -> PydanticCustomError:
    """Make the error that a validator raises; `at` leads from the value to the place within it."""
    return PydanticCustomError(FAULT, "{message}", {"message": message, "remedy": remedy, "at": at})


def shown(text: str) -> str:
    """Quote a value of the file for a message. Never for what could be a secret."""
    return repr(text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "...")


def read_text(value: object) -> str:
    """Read one line of text, not empty."""
    if value is None:
        raise fault("has no value", "write one, or remove the key")
    if not isinstance(value, str):
        shape = "a list" if isinstance(value, list) else "a mapping"
        raise fault(f"must be one value, not {shape}", "write one value")
    if not value.strip():
        raise fault("is empty", "write a value, or remove the key")
    if not value.isprintable():
        raise fault("holds a line break or a control character", "write it on one line")
    return str(value)


def read_path(value: object, info: ValidationInfo) -> Path:
    """Relative to the configuration file, or to systemd's credentials -> absolute. Nothing is opened."""
    if isinstance(value, Path):
        return value
    text = read_text(value)
    if text.startswith(_CREDENTIALS + "/"):
        name = _CREDENTIALS.removeprefix("$")
        directory = reading(info).environ.get(name)
        if directory:
            return Path(directory) / text.removeprefix(_CREDENTIALS + "/")
        if reading(info).with_secrets:
            raise fault(
                f"{name} is not set",
                "systemd sets it for a unit with LoadCredential=; by hand, set it to where these files lie",
            )
    return reading(info).base / text


def read_named_file(value: object, info: ValidationInfo) -> tuple[Path, bytes]:
    """Read the file that stands behind a `file:` key; its faults point at that key."""
    try:
        path = read_path(value, info)
    except PydanticCustomError as error:
        context = error.context or {}
        raise fault(str(context.get("message")), str(context.get("remedy")), at=("file",)) from None
    try:
        content, is_file = read_within(path, max_bytes=_LARGEST_BYTES + 1)
    except OSError as error:
        raise fault(
            f"{path} cannot be read: {reason(error)}", remedy(error, absent=ABSENT), at=("file",)
        ) from None
    reading(info).opened[path] = digest(content) if is_file else NO_FILE
    if len(content) > _LARGEST_BYTES:
        raise fault(f"{path} is larger than 1 MiB", "name the right file", at=("file",))
    return path, content


def reason(error: OSError) -> str:
    """Say in the system's words why a file cannot be had, without the path."""
    return os.strerror(error.errno) if error.errno else type(error).__name__


def remedy(error: OSError, *, absent: str) -> str:
    """Say what to do about a file that cannot be had; `absent` is what to do where there is none."""
    match error.errno:
        case errno.ENOENT | errno.ENOTDIR:
            return absent
        case errno.EISDIR:
            return "name a file, not a directory"
        case errno.EACCES | errno.EPERM:
            return "let the gateway's user read it, or run the command as that user"
    return "name a file that can be read"
