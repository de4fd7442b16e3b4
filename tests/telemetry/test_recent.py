"""The last ten thousand notifications are counted in a ring of blocks."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.telemetry.recent import BLOCK, BLOCKS, Recent


@given(st.lists(st.tuples(st.integers(0, 1200), st.booleans()), max_size=30))
def test_the_counts_are_those_of_the_last_notifications(runs: list[tuple[int, bool]]) -> None:
    recent, came = Recent(), list[bool]()
    for length, accepted in runs:
        came += [accepted] * length
        for _ in range(length):
            recent.add(accepted=accepted)
    assert recent.notifications == min(len(came), BLOCK * BLOCKS + len(came) % BLOCK)
    kept = came[len(came) - recent.notifications :]
    assert recent.without_accepted == kept.count(False)


def test_what_was_long_ago_is_forgotten() -> None:
    recent = Recent()
    recent.add(accepted=False)
    for _ in range(BLOCK * BLOCKS + BLOCK):
        recent.add(accepted=True)
    assert recent.without_accepted == 0
    assert BLOCK * BLOCKS <= recent.notifications < BLOCK * (BLOCKS + 1)
