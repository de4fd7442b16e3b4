"""Ids of notifications."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.ids import new_notification_id

times = st.integers(min_value=0, max_value=(1 << 48) - 1)
randomness = st.binary(min_size=10, max_size=10)


@given(now_ms=times, random_bits=randomness)
def test_it_is_a_uuid_of_version_7(now_ms: int, random_bits: bytes) -> None:
    text = new_notification_id(now_ms, random_bits)
    parsed = uuid.UUID(text)
    assert text == parsed.hex
    assert parsed.version == 7
    assert parsed.variant == uuid.RFC_4122
    assert parsed.int >> 80 == now_ms


@given(earlier=times, later=times, one=randomness, other=randomness)
def test_later_ids_sort_later(earlier: int, later: int, one: bytes, other: bytes) -> None:
    if earlier < later:
        assert new_notification_id(earlier, one) < new_notification_id(later, other)


@given(one=st.integers(min_value=0, max_value=(1 << 74) - 1), other=st.integers(0, (1 << 74) - 1))
def test_all_74_random_bits_count(one: int, other: int) -> None:
    ids = [new_notification_id(0, drawn.to_bytes(10, "big")) for drawn in (one, other)]
    assert (ids[0] == ids[1]) == (one == other)


def test_the_example_of_the_rfc() -> None:
    """RFC 9562, appendix A.6."""
    rand_a, rand_b = 0xCC3, 0x18C4DC0C0C07398F
    drawn = (rand_a << 62 | rand_b).to_bytes(10, "big")
    assert new_notification_id(0x017F22E279B0, drawn) == "017f22e279b07cc398c4dc0c0c07398f"


@pytest.mark.parametrize("size", [0, 9, 11])
def test_other_amounts_of_randomness_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match="10 random bytes"):
        new_notification_id(0, bytes(size))


@pytest.mark.parametrize("now_ms", [-1, 1 << 48])
def test_times_that_do_not_fit_are_refused(now_ms: int) -> None:
    with pytest.raises(ValueError, match="48 bits"):
        new_notification_id(now_ms, bytes(10))
