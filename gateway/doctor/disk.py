"""Probe: the disk below the spool. The spool itself is not opened, not locked, not written to."""

import os
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gateway.doctor.observed import Disk

SYNCS: Final = 20
"""Writes that are measured: enough for a median, some seconds on the slowest disk that is any good."""
MEASURING_SECONDS: Final = 3.0
"""No write is begun after this."""
WRITE_BYTES: Final = 4096
"""About one notification with its row."""
PREFIX: Final = ".doctor-"

HOLDER_FILE: Final = "holder"
"""Beside the spool's file; says who holds it (`gateway.spool.lock`)."""

_MOUNTS: Final = Path("/proc/self/mountinfo")
_LOCKS: Final = Path("/proc/locks")
_LOCK: Final = re.compile(r"^\d+: FLOCK +ADVISORY +WRITE +(\d+) [0-9a-f]+:[0-9a-f]+:(\d+) ", re.MULTILINE)


def look_at_disk(directory: Path, *, min_free_bytes: int) -> Disk:
    """Look at the file system, and measure how long a durable write takes on a file beside the spool.

    Blocks the thread for up to `MEASURING_SECONDS` and one write; never raises.
    """
    place = _nearest(directory)
    space = os.statvfs(place)
    if place == directory or os.access(place, os.X_OK):
        seconds, fault = _measure(directory, place)
    else:
        seconds, fault = (), f"{place}: this user may not look into it"
    return Disk(
        directory=directory,
        exists=place == directory,
        writable=os.access(place, os.W_OK | os.X_OK) and not space.f_flag & os.ST_RDONLY,
        file_system=_file_system(place),
        free_bytes=space.f_bavail * space.f_frsize,
        min_free_bytes=min_free_bytes,
        holder=find_holder(directory),
        # Where nothing stands yet, whose the directory above is says nothing.
        owner=_another_owner(place) if place == directory or not os.access(place, os.X_OK) else "",
        fsync_seconds=seconds,
        fault=fault,
    )


def find_holder(directory: Path) -> int | None:
    """Return the process that holds a spool directory; None where none does, or it cannot be seen.

    Read from the kernel's list: to try the lock would be to hold it, and a gateway that starts in that moment
    would be refused.
    """
    try:
        inode = directory.stat().st_ino
        locks = _LOCKS.read_text(encoding="ascii", errors="replace")
        told = (directory / HOLDER_FILE).read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return None
    # Not compared by device: on some file systems the kernel's list and stat(2) have different ones.
    held_by = {int(pid) for pid, at in _LOCK.findall(locks) if int(at) == inode}
    return int(told) if told.isdigit() and int(told) in held_by else None


def _measure(directory: Path, place: Path) -> tuple[tuple[float, ...], str]:
    """Time durable writes beside the spool; in it only where it is a file system of its own (a volume)."""
    beside = _nearest(directory.parent)
    try:
        if place == directory and beside.stat().st_dev != place.stat().st_dev:
            beside = place
        return tuple(_sync_times(beside)), ""
    except OSError as error:
        return (), f"{beside}: {error.strerror}"


def _sync_times(directory: Path) -> Iterator[float]:
    content = os.urandom(WRITE_BYTES)
    # Without a name where the file system can do so, and gone with the process, however that ends.
    with tempfile.TemporaryFile(dir=directory, prefix=PREFIX, buffering=0) as file:
        end = time.perf_counter() + MEASURING_SECONDS
        for _ in range(SYNCS):
            started = time.perf_counter()
            file.write(content)
            os.fdatasync(file.fileno())
            yield time.perf_counter() - started
            if time.perf_counter() > end:
                return


def _nearest(directory: Path) -> Path:
    """Return a directory, or the nearest one above it that is there."""
    # Not Path.is_dir: it raises where a parent may not be looked into.
    while not os.path.isdir(directory) and directory != directory.parent:  # noqa: PTH112
        directory = directory.parent
    return directory


def _another_owner(place: Path) -> str:
    """Return whose a directory is; empty where it is this user's."""
    number = place.stat().st_uid
    if number == os.geteuid():
        return ""
    try:
        return place.owner()
    except KeyError:
        return f"#{number}"  # as sudo takes it


def _file_system(place: Path) -> str:
    """Return the type of the file system that is mounted nearest above a place, the last mount on top."""
    resolved = place.resolve()
    best, found = -1, ""
    try:
        lines = _MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    for line in lines:
        fields, _, kind = line.partition(" - ")
        # proc(5): spaces and the like in names are octal escapes.
        mounted = Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields.split(" ")[4]))
        if (resolved == mounted or mounted in resolved.parents) and len(mounted.parts) >= best:
            best, found = len(mounted.parts), kind.split(" ")[0]
    return found
