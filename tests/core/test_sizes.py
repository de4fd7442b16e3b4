"""Sizes for eyes."""

import pytest

from gateway.core.sizes import say_size


@pytest.mark.parametrize(
    ("size_bytes", "told"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1_500_000, "1.4 MiB"),
        (69_586 * 1024**2, "68 GiB"),
        (5000 * 1024**4, "5000 TiB"),
    ],
)
def test_a_size_is_told_in_the_unit_that_fits_it(size_bytes: int, told: str) -> None:
    assert say_size(size_bytes) == told
