"""What may still come to a stream that is answered."""

from gateway.web.unread import FRAME_COST_BYTES, Unread


def test_bytes_are_dropped_up_to_the_limit() -> None:
    unread = Unread(10_000 + FRAME_COST_BYTES)
    assert unread.drop(10_000)
    assert not unread.drop(1)


def test_empty_frames_cost_too() -> None:
    unread = Unread(10 * FRAME_COST_BYTES)
    assert [unread.drop(0) for _ in range(11)] == [True] * 10 + [False]
