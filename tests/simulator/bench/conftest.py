"""A door that stands in for the gateway's, where nothing else is needed."""

from collections.abc import AsyncIterator

import pytest

from gateway.simulator.pki import PkiFiles, make_pki
from tests.simulator.door import Door, opened


@pytest.fixture(scope="package")
def pki(tmp_path_factory: pytest.TempPathFactory) -> PkiFiles:
    return make_pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture
async def door(pki: PkiFiles) -> AsyncIterator[Door]:
    async with opened(Door(), pki) as door:
        yield door
