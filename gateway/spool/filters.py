"""Bloom filters before the older buckets of the duplicates window.

Almost every key is new, and to learn that from the B-tree takes a page from a random place in each bucket: at
20 million keys 5 us a bucket from the system's cache, and a read of the disk without it.

A bucket's filter takes in each key that goes into the bucket; once that takes no more, it is stored beside it
in the file. One that is not there is made anew, a slice at a time, from the keys in the file. Keys that leave
a bucket stay in its filter: they only cost a look. So a filter never denies a key that its bucket has, and a
bucket without one is looked up as if there were none. Pure; the SQL is in window.py.
"""

import struct
from collections.abc import Iterable, Sequence
from typing import Final

from gateway.spool.duplicates import Bucket, Buckets

BITS_PER_KEY: Final = 10
"""At least; with four looks then at most 1.2 % of new keys are looked up in a bucket in vain."""
MIN_BYTES: Final = 64
KEY_BYTES: Final = 32

_places: Final = struct.Struct("<4I16x")
"""Four places of 32 bits: a digest is as random as any hash of it would be."""


class Filter:
    """Which keys a bucket may have."""

    def __init__(self, bits: bytearray) -> None:
        """`bits` is kept; its length is a power of two."""
        if not _is_power_of_two(len(bits)):
            raise ValueError(f"a filter of {len(bits)} bytes")
        self.bits = bits
        self.mask = len(bits) - 1

    @classmethod
    def for_keys(cls, number: int) -> "Filter":
        """Return an empty one, large enough for so many keys."""
        size = MIN_BYTES
        while size * 8 < number * BITS_PER_KEY:
            size *= 2
        return cls(bytearray(size))

    def folded(self, number: int) -> bytes:
        """Return the bits of a filter that is large enough for so many keys.

        Of two halves it has what either has: a place is the lower bits of a digest.
        """
        bits = bytes(self.bits)
        while len(bits) > MIN_BYTES and len(bits) * 4 >= number * BITS_PER_KEY:
            half = len(bits) // 2
            either = int.from_bytes(bits[:half], "little") | int.from_bytes(bits[half:], "little")
            bits = either.to_bytes(half, "little")
        return bits

    def add(self, keys: bytes) -> None:
        """Take in keys, one after the other."""
        bits, mask = self.bits, self.mask
        for a, b, c, d in _places.iter_unpack(keys):
            bits[a >> 3 & mask] |= 1 << (a & 7)
            bits[b >> 3 & mask] |= 1 << (b & 7)
            bits[c >> 3 & mask] |= 1 << (c & 7)
            bits[d >> 3 & mask] |= 1 << (d & 7)


class Filters:
    """Those of all buckets, and the one that is being made."""

    def __init__(self, stored: Iterable[tuple[int, bytes]]) -> None:
        """`stored` gives bucket and bits; what is no filter is made anew."""
        self._ready = {
            bucket: Filter(bytearray(bits)) for bucket, bits in stored if _is_power_of_two(len(bits))
        }
        self._stored = set(self._ready)
        self._making: tuple[int, Filter, bytes] | None = None

    def __contains__(self, bucket: int) -> bool:
        """Whether a bucket has its filter."""
        return bucket in self._ready

    def keep(self, buckets: Buckets) -> None:
        """Forget those of buckets that are gone."""
        ids = {bucket.id for bucket in buckets}
        if not self._ready.keys() <= ids:
            self._ready = {bucket: one for bucket, one in self._ready.items() if bucket in ids}

    def candidates(self, digests: Sequence[bytes], buckets: Iterable[int]) -> tuple[list[int], set[int]]:
        """Return the positions of digests that some of these buckets may have, and which buckets."""
        filters = [(id_, one.bits, one.mask) for id_ in buckets if (one := self._ready.get(id_))]
        positions: list[int] = []
        found: set[int] = set()
        if not filters:
            return positions, found
        places = _places.unpack
        for position, digest in enumerate(digests):
            a, b, c, d = places(digest)
            first, first_bit, second, second_bit = a >> 3, 1 << (a & 7), b >> 3, 1 << (b & 7)
            for id_, bits, mask in filters:
                if (
                    bits[first & mask] & first_bit
                    and bits[second & mask] & second_bit
                    and bits[c >> 3 & mask] & 1 << (c & 7)
                    and bits[d >> 3 & mask] & 1 << (d & 7)
                ):
                    found.add(id_)
                    if not positions or positions[-1] != position:
                        positions.append(position)
        return positions, found

    def begin(self, bucket: Bucket, *, room: int) -> None:
        """Give a bucket that has no keys yet a filter for so many."""
        self._ready[bucket.id] = Filter.for_keys(room)

    def add(self, bucket: int, keys: Iterable[bytes]) -> None:
        """Take in keys that go into a bucket; where that is not committed, they cost a look at most."""
        joined = b"".join(keys)
        if (ready := self._ready.get(bucket)) is not None:
            ready.add(joined)
        elif self._making is not None and self._making[0] == bucket:
            self._making[1].add(joined)

    def wanted(self, buckets: Buckets) -> tuple[Bucket, bytes] | None:
        """Return the bucket whose filter is to be made next, and the key after which to go on.

        `buckets` are those of the last commit: what a batch that fails has closed would be open again.
        """
        if self._making is not None:
            bucket = next((one for one in buckets if one.id == self._making[0]), None)
            if bucket is not None:
                return bucket, self._making[2]
            self._making = None
        for bucket in reversed(buckets):  # the youngest first: it is looked up the longest
            if bucket.id not in self._ready and bucket.keys:
                return bucket, b""
        return None

    def take_in(self, bucket: Bucket, keys: bytes, *, room: int) -> None:
        """Go on making a filter with the keys that follow in the bucket; `room`: how many it is to bear."""
        if self._making is None or self._making[0] != bucket.id:
            self._making = (bucket.id, Filter.for_keys(room), b"")
        making = self._making[1]
        making.add(keys)
        self._making = (bucket.id, making, keys[-KEY_BYTES:])

    def finish(self, bucket: Bucket) -> None:
        """Put the filter of a bucket to use of which every key was taken in."""
        made = self._making[1] if self._making is not None else Filter.for_keys(0)
        self._making = None
        self._ready[bucket.id] = made

    def to_store(self, buckets: Buckets) -> Bucket | None:
        """Return a bucket that takes no more keys, and whose filter is not in the file."""
        return next(
            (one for one in buckets[:-1] if one.id in self._ready and one.id not in self._stored), None
        )

    def folded(self, bucket: Bucket) -> bytes:
        """Return the bits to store for a bucket that takes no more keys; they are used from then on."""
        self._ready[bucket.id] = Filter(bytearray(self._ready[bucket.id].folded(bucket.keys)))
        self._stored.add(bucket.id)
        return bytes(self._ready[bucket.id].bits)


def _is_power_of_two(number: int) -> bool:
    return number > 0 and number & (number - 1) == 0
