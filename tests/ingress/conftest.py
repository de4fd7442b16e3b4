"""Fixtures for the public port."""

import pytest

from tests.ingress.rig import Edge


@pytest.fixture
def edge() -> Edge:
    """The app with a spool in memory."""
    return Edge()
