"""The spools that depth is measured on are as the gateway would have made them."""

from collections import Counter
from pathlib import Path

import apsw

from bench.depth.filling import (
    FILL_BATCH,
    LIMITS,
    TARGET,
    fill_pending,
    fill_window,
    new_append,
    now_ms,
    opened,
)
from bench.depth.rounds import Side, alternate, compare
from gateway.spool import duplicates
from gateway.spool.contract import Appended
from gateway.spool.database import FILE_NAME

WEEK_MS = 7 * 24 * 3_600_000


def test_so_much_is_pending_and_rounds_leave_it_so(tmp_path: Path) -> None:
    told: list[int] = []
    with opened(tmp_path / "one") as one, opened(tmp_path / "other") as other:
        fill_pending(one, 10, told.append)
        fill_pending(other, FILL_BATCH + 10, told.append)
        assert told == [10, FILL_BATCH, 10]
        sides = Side(one), Side(other)
        alternate(*sides, rounds=3, size=5, progress=lambda _: None)
        assert {row.kind for row in compare(*sides, size=5)} >= {"accept", "claim", "settle"}
        assert [len(side.cpu["accept"]) for side in sides] == [3, 3]
    with opened(tmp_path / "other") as again:
        assert again.pending == {TARGET: FILL_BATCH + 10}


def test_a_filled_window_is_one_that_the_spool_knows(tmp_path: Path) -> None:
    fill_window(tmp_path, 4000, span_ms=WEEK_MS // 2, progress=lambda _: None)
    with opened(tmp_path) as engine:
        assert sum(bucket.keys for bucket in engine.buckets) == 4000
        assert len(duplicates.alive(engine.buckets, now_ms(), LIMITS)) == duplicates.PARTS + 1
        request = new_append(now_ms())
        engine.run([request])
        assert request.result is Appended.STORED
        assert engine.buckets[-1].id == duplicates.PARTS + 1
        assert sum(bucket.keys for bucket in engine.buckets) == 4001
    rows = apsw.Connection(str(tmp_path / "0" / FILE_NAME)).execute("SELECT bucket, length(digest) FROM seen")
    counted = Counter(rows)
    assert {length for _, length in counted} == {32}
    assert counted[1, 32] == 250
    assert counted[2, 32] == 500
