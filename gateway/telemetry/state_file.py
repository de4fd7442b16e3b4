"""What a process remembers over a restart, in small files beside the spool directory.

Each worker writes files of its own. Nothing depends on them but what can be said of the past, so one that
cannot be read or written is told of, and stops nothing.
"""

from pathlib import Path
from typing import TypeVar

import msgspec

from gateway.private_file import LooseFileError, make_private_file, read_private_file

Content = TypeVar("Content")


class StateFileError(Exception):
    """The file cannot be read or written."""


def state_file_name(stem: str, worker: int) -> str:
    """Return the name of a worker's file: `STEM.json`, `STEM-1.json` of worker 1."""
    return f"{stem}.json" if worker == 0 else f"{stem}-{worker}.json"


def read_state(path: Path, decoder: msgspec.json.Decoder[Content], *, max_bytes: int) -> Content | None:
    """Return what the file holds; None where there is none.

    Raises:
        StateFileError: it cannot be read, or is not what was written.
    """
    try:
        return decoder.decode(read_private_file(path, max_bytes=max_bytes))
    except FileNotFoundError:
        return None
    except (OSError, LooseFileError, msgspec.MsgspecError, UnicodeDecodeError) as fault:
        raise StateFileError(f"{path} cannot be used ({fault})") from fault


def write_state(path: Path, content: bytes) -> None:
    """Write the file, whole or not at all; it waits for the disk.

    Raises:
        StateFileError: it cannot be written.
    """
    try:
        make_private_file(path, content)
    except OSError as fault:
        raise StateFileError(f"{path} cannot be written ({fault.strerror})") from fault
