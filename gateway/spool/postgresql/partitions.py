"""Partitions: the days of the bodies, and the buckets of the duplicates window.

A new one is made as a table by itself and attached, which holds up nobody who reads or writes beside it. An
old one is detached and dropped, which gives its room back at once, without a vacuum.
"""

from contextlib import suppress

from gateway.errors import SpoolUnavailableError
from gateway.spool.postgresql.link import Link
from gateway.spool.postgresql.session import DAY_MS, UPKEEP_LOCK
from gateway.spool.postgresql.troubles import ContendedError

PAST_DAYS = 2
"""A day is looked at for leftovers when nobody stores into it any more, whatever transaction was slow."""


class Days:
    """Which days have a partition, as far as is known here; shared by the threads of one opening."""

    def __init__(self) -> None:
        self._known: frozenset[int] = frozenset()

    def known(self, day: int) -> bool:
        """Whether there is one."""
        return day in self._known

    def make(self, link: Link, day: int) -> None:
        """Make one, unless somebody else has just done so. Raises as `Link.rows`."""
        with suppress(ContendedError):
            try:
                link.execute(
                    f"BEGIN; CREATE TABLE body_{day} (LIKE body); "
                    f"ALTER TABLE body ATTACH PARTITION body_{day} FOR VALUES IN ({day}); COMMIT"
                )
            except BaseException:
                link.rollback()
                raise
        self._known |= {day}


def look_after_partitions(link: Link, days: Days) -> None:
    """Make tomorrow's, and drop what holds nothing any more. By one gateway at a time; outside a transaction.

    Raises as `Link.rows`.
    """
    [(locked,)] = link.execute(f"SELECT pg_try_advisory_lock({UPKEEP_LOCK})")
    if not locked:
        return
    try:
        [(clock_ms,)] = link.rows("clock")
        today = clock_ms // DAY_MS
        if not days.known(today + 1):
            days.make(link, today + 1)
        buckets = {row[0] for row in link.rows("bucket_ids")}
        newest = max(buckets, default=0)
        for parent, name, detaching in link.rows("partitions"):
            number = int(name.rpartition("_")[2])
            if parent == "seen":
                over = number < newest and number not in buckets
            else:
                over = number <= today - PAST_DAYS and _is_empty(link, name)
            if over or detaching is not False:
                _drop(link, parent, name, detaching=detaching)
    finally:
        with suppress(SpoolUnavailableError):
            link.execute(f"SELECT pg_advisory_unlock({UPKEEP_LOCK})")


def _is_empty(link: Link, name: str) -> bool:
    [(there,)] = link.execute(f"SELECT EXISTS (SELECT 1 FROM {name})")  # noqa: S608 - a name of ours
    return not there


def _drop(link: Link, parent: str, name: str, *, detaching: bool | None) -> None:
    if detaching is not None:
        how = "FINALIZE" if detaching else "CONCURRENTLY"
        link.execute(f"ALTER TABLE {parent} DETACH PARTITION {name} {how}")
    link.execute(f"DROP TABLE {name}")
