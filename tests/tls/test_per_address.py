"""Connections by address."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.tls.per_address import PerAddress


@given(st.lists(st.sampled_from(["192.0.2.1", "192.0.2.2", "2001:db8::1"]), max_size=30), st.integers(1, 4))
def test_no_address_has_more_than_its_limit_and_nothing_is_left_behind(
    callers: list[str], limit: int
) -> None:
    count = PerAddress()
    inside = [(caller, key) for caller in callers if (key := count.enter(caller, limit)) is not None]
    for address in set(callers):
        assert [one for one, _ in inside].count(address) == min(limit, callers.count(address))
    for _, key in inside:
        count.leave(key)
    assert len(count) == 0


def test_who_was_refused_leaves_no_trace() -> None:
    count = PerAddress()
    key = count.enter("192.0.2.1", 1)
    assert key is not None
    assert count.enter("192.0.2.1", 1) is None
    count.leave(key)
    assert len(count) == 0


def test_one_ipv6_network_of_64_bits_counts_as_one() -> None:
    count = PerAddress()
    assert count.enter("2001:db8:0:1::1", 1) is not None
    assert count.enter("2001:db8:0:1:ffff::9", 1) is None
    assert count.enter("2001:db8:0:2::1", 1) is not None
    assert count.enter("fe80::1%eth0", 1) is not None
    assert count.enter("fe80::2%eth0", 1) is None


def test_ipv4_addresses_count_each_for_itself() -> None:
    count = PerAddress()
    assert count.enter("192.0.2.1", 1) is not None
    assert count.enter("192.0.2.2", 1) is not None
    assert count.enter("", 1) is not None, "a Unix socket has none"
