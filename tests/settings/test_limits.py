"""`listen.limits`: what would protect nothing or shut Meta out is refused, and the reason said."""

from collections.abc import Callable

import pytest

from gateway.errors import ConfigurationError
from gateway.settings.limits import Limits
from gateway.settings.load import Loaded
from gateway.settings.shape import entries

Load = Callable[..., Loaded]

ENDS = {
    # key: (least, most), and one beyond each end
    "handshakes": ("16", "65536", "15", "65537"),
    "handshake": ("1s", "60s", "999ms", "61s"),
    "without_certificate": ("1", "4095", "0", "4096"),
    "per_address": ("16", "1000000", "15", "1000001"),
    "head": ("1s", "1m", "0s", "2m"),
    "head_size": ("4KiB", "256KiB", "4095B", "1MiB"),
    "headers": ("32", "1000", "31", "1001"),
    "body": ("1s", "10m", "0s", "11m"),
    "body_rate": ("1KiB", "1MiB", "0B", "2MiB"),
    "idle": ("1s", "1h", "0s", "1d"),
    "idle_without_certificate": ("1s", "60s", "0s", "75s"),
    "requests": ("1", "1000000", "0", "1000001"),
    "streams": ("1", "256", "0", "257"),
    "resets": ("10", "10000", "0", "1000000"),
    "control_frames": ("100", "100000", "99", "100001"),
}


def with_limit(good: str, key: str, value: str) -> str:
    return good.replace("listen:\n", f"listen:\n  limits: {{{key}: {value}}}\n")


def test_every_limit_is_in_the_table() -> None:
    assert set(ENDS) == set(entries(Limits))


@pytest.mark.parametrize("key", ENDS)
def test_both_ends_are_taken(key: str, good: str, load: Load) -> None:
    for value in ENDS[key][:2]:
        load(with_limit(good, key, value))


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, ends in ENDS.items() for value in ends[2:]])
def test_beyond_its_ends_a_limit_is_refused_with_a_reason(
    key: str, value: str, good: str, load: Load
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(with_limit(good, key, value))
    (problem,) = caught.value.problems
    assert problem.key_path == f"listen.limits.{key}"
    assert problem.line == 2
    assert "too little: " in problem.message or "too much: " in problem.message or "Meta" in problem.message
    assert problem.remedy.startswith("write ")
