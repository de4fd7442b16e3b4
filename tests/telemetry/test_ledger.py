"""The last refusals are kept, and a flood of one kind does not wash out another."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.telemetry.ledger import ROOM, Entry, Ledger, Weight, weigh


def entry(number: int) -> Entry:
    return Entry(
        at_ms=number, kind="connection", address="192.0.2.1", reason="protocol", detail="", leaf=None,
        claims=None, staged=None, connection="closed",
    )  # fmt: skip


def test_a_scanners_flood_washes_out_noise_alone() -> None:
    ledger = Ledger()
    ledger.add(entry(1), Weight.PROVED)
    ledger.add(entry(2), Weight.SIGNED)
    ledger.add(entry(3), Weight.CLAIMED)
    for number in range(10_000):
        ledger.add(entry(100 + number), Weight.NOISE)
    kept = [one.at_ms for one in ledger.newest_first()]
    assert kept[-3:] == [3, 2, 1]
    assert kept[0] == 10_099
    assert len(kept) == ROOM + 3


def test_who_claims_to_be_meta_cannot_wash_out_who_proved_it() -> None:
    ledger = Ledger()
    ledger.add(entry(1), Weight.PROVED)
    for number in range(1000):
        ledger.add(entry(number), Weight.CLAIMED)
    assert ledger.newest_first()[-1].at_ms == 1


@given(st.lists(st.sampled_from(Weight), max_size=600))
def test_at_most_two_hundred_are_kept_newest_first(weights: list[Weight]) -> None:
    ledger = Ledger()
    for number, weight in enumerate(weights):
        ledger.add(entry(number), weight)
    kept = [one.at_ms for one in ledger.newest_first()]
    assert len(kept) <= 200
    assert kept == sorted(kept, reverse=True)
    for weight in Weight:
        numbers = [number for number, one in enumerate(weights) if one is weight]
        assert set(numbers[-ROOM:]) <= set(kept)


def test_the_gravest_decides() -> None:
    assert weigh(proved=True, signed=True, claimed=True) is Weight.PROVED
    assert weigh(proved=False, signed=True, claimed=True) is Weight.SIGNED
    assert weigh(proved=False, signed=False, claimed=True) is Weight.CLAIMED
    assert weigh(proved=False, signed=False, claimed=False) is Weight.NOISE
