"""Hypothesis for the whole suite.

Without its clock: on a busy machine a deadline for single examples fails what is not broken. In CI the same
examples every time, so that a change is judged by what it changes; new ones are tried wherever somebody works
on it.
"""

import os

import pytest
from hypothesis import settings

settings.register_profile("work", deadline=None)
settings.register_profile("gate", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("gate" if os.environ.get("CI") else "work")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let `make torture` ask for more."""
    parser.addoption("--rounds", type=int, default=10, help="how often the gateway is killed under load")
