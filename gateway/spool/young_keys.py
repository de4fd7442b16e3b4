"""The youngest keys of the duplicates window: a list in the file, sets in memory.

A digest belongs to a random place of its bucket: at millions of keys each would cost a page of its own, read,
written to the log and written to the file. So a batch stores its keys as one row of a list, and the sets
answer for them. What has gathered then goes into the bucket a part at a time, in the order of the digests,
several to a page. Until all of a generation is there its rows stay: after a crash it begins anew, and a key
that is there already stays there once. Pure; the SQL is in window.py.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Final

from gateway.spool.filters import KEY_BYTES

QUARTERS_A_KEY: Final = 5
"""For each key that comes, five quarters of one go: a generation is gone before the next is full."""
PARTS: Final = 1024
"""Parts of a generation, by the first ten bits: one of 256 keys is a millisecond of the writer thread."""


def part_of(key: bytes) -> int:
    """Return the part of a generation that a key belongs to."""
    return key[0] << 2 | key[1] >> 6


class Generation:
    """Keys that came one after the other, all of one bucket."""

    def __init__(self, bucket: int, *, first_row: int) -> None:
        self.bucket = bucket
        self.first_row = first_row
        self.size = 0
        self.merged_parts = 0
        """So many of them are in the bucket."""
        self._parts: list[set[bytes]] = [set() for _ in range(PARTS)]

    def __contains__(self, key: bytes) -> bool:
        return key in self._parts[part_of(key)]

    def add(self, keys: Iterable[bytes]) -> None:
        """Take in what one row holds."""
        parts = self._parts
        for key in keys:
            parts[part_of(key)].add(key)
            self.size += 1

    def part(self, number: int) -> list[bytes]:
        """Return the keys of a part in order."""
        return sorted(self._parts[number])


class YoungKeys:
    """All generations, the oldest first; the last one grows, the others go into their buckets."""

    def __init__(self, rows: Iterable[tuple[int, int, bytes]], *, generation_keys: int) -> None:
        """`rows` are those of the list: number, bucket, digests one after the other."""
        self._generation_keys = generation_keys
        self._generations: list[Generation] = []
        self._listed: set[int] = set()
        """Buckets of which rows are there, though their keys are where they belong."""
        self._debt = 0
        """Quarters of keys that are still to go with the next batches."""
        self.first_row = self.next_row = 1
        """Of the list in the file: the first that is there, and the one after the last."""
        for number, (row, bucket, digests) in enumerate(rows):
            if not number:
                self.first_row = row
            self.next_row = row
            self.add(bucket, [digests[at : at + KEY_BYTES] for at in range(0, len(digests), KEY_BYTES)])
        # What came before is owed to no batch: the first one after a start would do it all.
        self._debt = 0

    @property
    def rows_to_go(self) -> int:
        """How many rows, from the first on, hold only keys that are in their buckets."""
        kept = self._generations[0].first_row if self._generations else self.next_row
        return kept - self.first_row

    def add(self, bucket: int, keys: Collection[bytes]) -> None:
        """Take in the keys of the next row, once it is on disk."""
        last = self._generations[-1] if self._generations else None
        if last is None or last.bucket != bucket or last.size >= self._generation_keys or last.merged_parts:
            last = Generation(bucket, first_row=self.next_row)
            self._generations.append(last)
        last.add(keys)
        self.next_row += 1
        if len(self._generations) > 1:
            self._debt += QUARTERS_A_KEY * len(keys)

    def known(self, keys: Sequence[bytes], buckets: Collection[int]) -> set[int]:
        """Return the positions of keys that are here, under one of these buckets."""
        found: set[int] = set()
        for generation in self._generations:
            if generation.bucket in buckets:
                found.update(at for at, key in enumerate(keys) if key in generation)
        return found

    def oldest(self) -> Generation | None:
        """Return the generation that goes next; not the one that grows."""
        return self._generations[0] if len(self._generations) > 1 else None

    def of(self, bucket: int) -> list[Generation]:
        """Return those of a bucket."""
        return [one for one in self._generations if one.bucket == bucket]

    def is_listed(self, bucket: int) -> bool:
        """Whether there are rows of a bucket: what it forgets would be known again after a crash."""
        return bucket in self._listed or any(one.bucket == bucket for one in self._generations)

    def parts_owed(self, generation: Generation) -> int:
        """Return how many parts are to go with this batch, so that one generation is gone before the next is
        full."""
        return min(self._debt * PARTS // max(1, 4 * generation.size), PARTS - generation.merged_parts)

    def merged(self, generation: Generation, parts: int) -> None:
        """Note parts that are in their bucket, once they are on disk."""
        self._debt = max(0, self._debt - -(-4 * parts * generation.size // PARTS))
        generation.merged_parts += parts
        if generation.merged_parts >= PARTS:
            self._generations.remove(generation)
            self._listed.add(generation.bucket)
            self._debt = 0

    def rows_gone(self, row: int) -> None:
        """Note that the rows until this one are gone, once that is on disk."""
        self.first_row = row + 1
        if not self.rows_to_go:
            self._listed.clear()

    def unlisted(self, bucket: int) -> None:
        """Note that no row of a bucket is left, once that is on disk."""
        self._listed.discard(bucket)
