"""Which notifications get lines of their own."""

import os

from gateway.core.ids import RANDOM_BYTES, new_notification_id
from gateway.telemetry.line_budget import BURST_LINES
from gateway.telemetry.notification_lines import SAMPLE, NotificationLog, TroubleLines, is_told

IDS = [new_notification_id(1, number.to_bytes(RANDOM_BYTES, "big")) for number in range(20 * SAMPLE)]
SAMPLED = next(one for one in IDS if is_told("sample", one))
OTHER = next(one for one in IDS if not is_told("sample", one))


def test_a_sample_is_one_in_a_hundred_of_real_ids() -> None:
    ids = [new_notification_id(1, os.urandom(RANDOM_BYTES)) for _ in range(50_000)]
    assert 300 < sum(is_told("sample", one) for one in ids) < 700


def test_any_id_will_do() -> None:
    """An edited dead letter that is replayed may bear anything."""
    assert {is_told("sample", f"\udcff {number}") for number in range(1000)} == {True, False}


def test_all_is_all_and_problems_none() -> None:
    assert [is_told("all", one) for one in (SAMPLED, OTHER)] == [True, True]
    assert [is_told("sample", one) for one in (SAMPLED, OTHER)] == [True, False]
    assert [is_told("problems", one) for one in (SAMPLED, OTHER)] == [False, False]


def test_trouble_writes_a_burst_and_then_a_line_a_second_for_each_event_and_target() -> None:
    now = [100.0]
    lines = TroubleLines(lambda: "problems", clock=lambda: now[0])

    def take(event: str = "delivery_retried", target: str = "support") -> int | None:
        return lines.take(event, target=target, notification_id=OTHER)

    assert [take() for _ in range(BURST_LINES + 5)] == [0] * BURST_LINES + [None] * 5
    assert take(event="delivery_refused") == 0
    assert take(target="audit") == 0
    now[0] += 1
    assert take() == 5
    assert take() is None


def test_what_is_told_of_is_told_whole_and_the_setting_may_change() -> None:
    setting: list[NotificationLog] = ["sample"]
    lines = TroubleLines(lambda: setting[0], clock=lambda: 0.0)
    told = [lines.take("delivery_retried", target="x", notification_id=SAMPLED) for _ in range(100)]
    assert told == [0] * 100
    assert [lines.take("e", target="x", notification_id=OTHER) for _ in range(BURST_LINES + 1)][-1] is None
    setting[0] = "all"
    assert lines.take("e", target="x", notification_id=OTHER) == 0
