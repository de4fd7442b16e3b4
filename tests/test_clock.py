"""The clock is the wall's."""

import time

from gateway.clock import unix_ms


def test_it_is_unix_time_in_milliseconds() -> None:
    before = int(time.time() * 1000)
    assert before - 1 <= unix_ms() <= int(time.time() * 1000) + 1
