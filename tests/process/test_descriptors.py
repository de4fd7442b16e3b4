"""Descriptors: raised as far as needed and allowed, and the bound on connections follows."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
soft, hard, wanted, deliveries = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
from gateway.process.descriptors import allot
granted = allot(max_connections=wanted, deliveries_at_once=deliveries)
print(granted.limit, granted.max_connections, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.mark.parametrize(
    ("soft", "hard", "wanted", "deliveries", "limit", "connections"),
    [
        (256, 8192, 4096, 80, 4688, 4096),  # raised as far as it takes
        (256, 1024, 4096, 80, 1024, 432),  # as far as it goes, and fewer connections
        (256, 300, 4096, 80, 300, 75),  # hardly anything: a quarter for the door
        (4000, 8192, 100, 8, 4000, 100),  # never lowered
    ],
)
def test_the_limit_and_what_it_bears(
    soft: int, hard: int, wanted: int, deliveries: int, limit: int, connections: int
) -> None:
    arguments = map(str, (soft, hard, wanted, deliveries))
    outcome = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=True, timeout=30
    )
    assert list(map(int, outcome.stdout.split())) == [limit, connections, limit]
