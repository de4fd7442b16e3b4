"""Fixtures for the admin port."""

import pytest

from tests.admin.rig import Desk


@pytest.fixture
def desk() -> Desk:
    """Both apps, all checks well."""
    return Desk()
