"""What all pages share: asked for once, and never the end of a page."""

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from gateway.admin.dashboard import board as board_module
from gateway.admin.dashboard.board import until_next_sample_seconds
from gateway.errors import SpoolUnavailableError
from tests.admin.dashboard.rig import Stage


@pytest.fixture
def stage() -> Stage:
    return Stage()


@given(st.integers(0, 2**45))
def test_the_history_is_fed_in_the_middle_of_each_slot(now_ms: int) -> None:
    seconds = until_next_sample_seconds(now_ms)
    assert 0 < seconds <= 10
    assert round(now_ms + seconds * 1000) % 10_000 == 5000


async def test_the_history_is_fed_with_what_the_metrics_say(stage: Stage) -> None:
    board = stage.dashboard.board
    stage.metrics.spool_pending.labels("support").set(3)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(board.sample)
        with trio.fail_after(20):
            while board.history.now("waiting") is None:  # noqa: ASYNC110 (it reads in a thread)
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    assert board.history.now("waiting", "support") == 3


async def test_metrics_that_are_not_to_be_had_leave_a_gap_and_a_line(
    stage: Stage, autojump_clock: trio.testing.MockClock
) -> None:
    async def failing() -> bytes:
        raise SpoolUnavailableError("no worker serves now")

    board = stage.made(render_metrics=failing).board
    with capture_logs() as lines:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(board.sample)
            await trio.sleep(15)
            nursery.cancel_scope.cancel()
    assert {line["event"] for line in lines} == {"dashboard_not_sampled"}
    assert board.history.began_ms is None


async def test_whoever_asks_within_a_moment_gets_the_same(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = stage.dashboard.board
    first = await board.shown()
    assert await board.shown() is first
    board.forget()
    second = await board.shown()
    assert second is not first, "something was done"
    monkeypatch.setattr(board_module, "FRESH_SECONDS", 0.0)
    assert await board.shown() is not second


async def test_what_does_not_answer_in_time_is_left_out_and_told(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(board_module, "ASK_SECONDS", 0.05)

    async def sleeping() -> dict[str, object]:
        await trio.sleep(60)
        return {}

    with trio.fail_after(20):
        shown = await stage.made(ledger=sleeping).board.shown()
    assert shown.missing == ("what Meta sends: no answer in time",)
    assert "Not to be had now: what Meta sends" in shown.sections["verdict"]
