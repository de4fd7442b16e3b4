"""Spools in the state that is to be measured, made quickly: through the engine, without a process."""

import itertools
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import apsw
import msgspec

from bench.ground import BENCH, MARKER
from gateway.core.joining import joinable_object
from gateway.core.signature import VerifiedBody, sign, verify_signature
from gateway.spool.contract import NewDelivery, Notification
from gateway.spool.database import FILE_NAME, open_database
from gateway.spool.duplicates import PARTS, Limits
from gateway.spool.engine import Engine
from gateway.spool.requests import Append

Progress = Callable[[int], object]
"""Hears how many more are there."""

TARGET: Final = "sink"
SECRET: Final = b"bench"
WINDOW_MS: Final = 7 * 24 * 3_600_000
MAX_KEYS: Final = 20_000_000
"""The defaults of `spool.duplicates_window` and `spool.duplicates_max`."""
LIMITS: Final = Limits(window_ms=WINDOW_MS, max_keys=MAX_KEYS)
NO_WINDOW: Final = Limits(window_ms=0, max_keys=0)
FILL_BATCH: Final = 5_000
KEYS_AT_ONCE: Final = 250_000
FILL_CACHE_KIB: Final = 1024 * 1024
"""While keys come in at random, so that the filling is not bound by the page cache."""

_message: Final = (BENCH / "message.json").read_bytes().strip()
_serial = itertools.count(random.getrandbits(36))


def now_ms() -> int:
    """Return Unix time."""
    return time.time_ns() // 1_000_000


def new_append(received_at_ms: int) -> Append:
    """Return the request for a message that nobody has seen, with one delivery."""
    number = next(_serial)
    raw = _message.replace(MARKER, b"%012d" % number)
    body = verify_signature(app="main", raw=raw, header_values=[sign(SECRET, raw).encode()], secrets=[SECRET])
    if not isinstance(body, VerifiedBody):
        raise TypeError(body)
    # As version 7 is: the time first, then bits that look random.
    scattered = number * 0x9E3779B97F4A7C15 % 2**80
    id_ = f"{received_at_ms:012x}{scattered:020x}"
    return Append(
        notification=Notification(
            id=id_,
            received_at_ms=received_at_ms,
            body=body,
            deliveries=(NewDelivery(id=f"{id_}-{TARGET}", target=TARGET, selection=None, changes=1),),
            object=joinable_object(raw),
        )
    )


@contextmanager
def opened(directory: Path, limits: Limits = LIMITS) -> Iterator[Engine]:
    """Open the engine of a spool directory, made if there is none."""
    engine = Engine(open_database(directory / "0"), directory / "0" / FILE_NAME, limits)
    try:
        yield engine
    finally:
        engine.close(clean=True)


def fill_pending(engine: Engine, count: int, progress: Progress) -> None:
    """Append so many notifications, with big commits."""
    for start in range(0, count, FILL_BATCH):
        size = min(FILL_BATCH, count - start)
        at_ms = now_ms()
        engine.run([new_append(at_ms) for _ in range(size)])
        engine.checkpoint()
        progress(size)


def fill_young(engine: Engine, count: int, progress: Progress) -> None:
    """Remember so many keys, with nothing to deliver: the next ones begin to put them into their bucket."""
    for start in range(0, count, FILL_BATCH):
        size = min(FILL_BATCH, count - start)
        requests = [new_append(now_ms()) for _ in range(size)]
        engine.run(
            [
                Append(notification=msgspec.structs.replace(one.notification, deliveries=()))
                for one in requests
            ]
        )
        progress(size)


def fill_window(directory: Path, keys: int, *, span_ms: int, progress: Progress) -> None:
    """Put random keys into the duplicates window of a new spool, as many buckets as there are after a week.

    In random order, so that the pages are as full as they come to be, and with as few keys in the last bucket
    as have left the first: the next append makes one go. `span_ms` is how far back the first bucket began.
    """
    with opened(directory):
        pass
    connection = apsw.Connection(str(directory / "0" / FILE_NAME))
    for name, value in {"synchronous": 0, "cache_size": -FILL_CACHE_KIB, "journal_mode": "off"}.items():
        connection.pragma(name, value)
    share = keys // PARTS
    sizes = [share // 2, *[share] * (PARTS - 1), share // 2]
    sizes[0] += keys - sum(sizes)
    began_ms, length_ms = now_ms() - span_ms, span_ms // len(sizes)
    for number, size in enumerate(sizes, start=1):
        start_ms = began_ms + (number - 1) * length_ms
        end_ms = start_ms + (length_ms if number < len(sizes) else LIMITS.bucket_ms)
        connection.execute("BEGIN")
        connection.execute("INSERT INTO seen_bucket VALUES (?, ?, ?, ?)", (number, start_ms, end_ms, size))
        for done in range(0, size, KEYS_AT_ONCE):
            some = min(KEYS_AT_ONCE, size - done)
            connection.execute(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)"
                " INSERT INTO seen SELECT ?2, randomblob(32) FROM n",
                (some, number),
            )
            progress(some)
        connection.execute("COMMIT")
    connection.pragma("journal_mode", "wal")
    connection.close()


def make_older(directory: Path, by_ms: int) -> None:
    """Let the keys of a window have come in that much earlier."""
    connection = apsw.Connection(str(directory / "0" / FILE_NAME))
    connection.execute("UPDATE seen_bucket SET start_ms = start_ms - ?1, end_ms = end_ms - ?1", (by_ms,))
    connection.close()
