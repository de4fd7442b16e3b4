"""Durations and sizes: what is read, and that what is written reads the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.settings.amounts import read_duration, read_size, write_duration, write_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250ms", 0.25), ("10s", 10), ("5m", 300), ("2h", 7200), ("3d", 259200), ("0s", 0), ("1.5h", 5400)],
)
def test_durations(text: str, seconds: float) -> None:
    assert read_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [("64KiB", 65536), ("3MiB", 3145728), ("10GiB", 10737418240), ("1TiB", 2**40), ("0B", 0)],
)
def test_sizes(text: str, size_bytes: int) -> None:
    assert read_size(text) == size_bytes


@pytest.mark.parametrize(
    "text",
    ["", "s", "1", "-1s", "+1s", "1 s", "1S", "1.s", ".5s", "1e3s", "1h30m", "١s", "1s\n", "infs", "1_0s"],
)
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match=r"unit|duration|empty|line break"):
        read_duration(text)


@pytest.mark.parametrize("text", ["", "MiB", "1", "1MB", "1mib", "1 MiB", "-1B", "1_0B"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match=r"unit|size|empty"):
        read_size(text)


@given(st.integers(min_value=0, max_value=3650 * 86_400_000))
def test_a_written_duration_reads_the_same(milliseconds: int) -> None:
    assert round(read_duration(write_duration(milliseconds / 1000)) * 1000) == milliseconds


@given(st.integers(min_value=0, max_value=10**9 - 1))
def test_a_written_size_reads_the_same(size_bytes: int) -> None:
    assert read_size(write_size(size_bytes)) == size_bytes


@given(st.text())
def test_any_text_is_an_amount_or_a_fault(text: str) -> None:
    for read in (read_duration, read_size):
        try:
            assert read(text) >= 0
        except ValueError:
            continue
