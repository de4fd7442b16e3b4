"""Which dead letters are meant."""

from pathlib import Path

import pytest

from gateway.delivery.dead_letter import DeadLetterStore
from gateway.delivery.dead_letter_record import Reason
from gateway.delivery.selection import Selection, parse_moment, select
from gateway.errors import DeadLetterError, UsageError
from tests.delivery.rig import EPOCH_MS, a_letter

HOUR_MS = 3_600_000


@pytest.mark.parametrize(
    ("text", "unix_ms"),
    [
        ("2h", EPOCH_MS - 2 * HOUR_MS),
        ("2h ago", EPOCH_MS - 2 * HOUR_MS),
        ("1.5s", EPOCH_MS - 1500),
        ("9999999d", 0),
        ("2026-02-02T02:40:00Z", EPOCH_MS),
        ("2026-02-02T03:40:00.001+01:00", EPOCH_MS + 1),
        ("2026-02-02", EPOCH_MS - 2 * HOUR_MS - 40 * 60_000),
    ],
)
def test_times_are_durations_ago_or_rfc_3339(text: str, unix_ms: int) -> None:
    assert parse_moment(text, now_ms=EPOCH_MS, option="--since") == unix_ms


@pytest.mark.parametrize("text", ["", "yesterday", "2", "-2h", "2h later"])
def test_what_is_no_time_is_told(text: str) -> None:
    with pytest.raises(UsageError, match=r"--since .* is no time"):
        parse_moment(text, now_ms=EPOCH_MS, option="--since")


@pytest.mark.parametrize(
    ("selection", "numbers"),
    [
        (Selection(), [0, 1, 2, 3]),
        (Selection(target="other"), [3]),
        (Selection(field="mess*"), [0, 1, 2, 3]),
        (Selection(field="security"), []),
        (Selection(reason=Reason.GAVE_UP), [2]),
        (Selection(since_ms=EPOCH_MS + HOUR_MS), [1, 2, 3]),
        (Selection(since_ms=EPOCH_MS + HOUR_MS + 1), [2, 3]),
        (Selection(until_ms=EPOCH_MS + HOUR_MS), [0, 1]),
        (Selection(until_ms=EPOCH_MS + HOUR_MS - 1), [0]),
        (Selection(since_ms=EPOCH_MS + HOUR_MS, until_ms=EPOCH_MS + 2 * HOUR_MS, target="support"), [1, 2]),
    ],
)
def test_filters_add_up(tmp_path: Path, selection: Selection, numbers: list[int]) -> None:
    store = DeadLetterStore(tmp_path, b"k")
    for number in range(4):
        store.write(
            a_letter(
                target="other" if number == 3 else "support",
                reason=Reason.GAVE_UP if number == 2 else Reason.REFUSED,
                received_at_ms=EPOCH_MS + number * HOUR_MS,
                number=number,
            )
        )
    hours = [int(found.hour) - 2 for found, _ in select(store, selection)]
    assert hours == numbers


def test_a_file_that_cannot_be_read_is_told_in_its_place(tmp_path: Path) -> None:
    store = DeadLetterStore(tmp_path, b"k")
    for number in range(2):
        store.write(a_letter(number=number))
    first, _ = store.iterate()
    (tmp_path / first.name).write_text("{")
    kinds = [type(letter) for _, letter in select(store, Selection(field="messages"))]
    assert kinds[0] is DeadLetterError
    assert len(kinds) == 2
