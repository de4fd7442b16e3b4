"""What the tests of the door share."""

from pathlib import Path

import pytest

from gateway.simulator.pki import DevelopmentPki, development_pki
from tests.tls.files import Files
from tests.tls.rig import Maker


@pytest.fixture(scope="session")
def pki() -> DevelopmentPki:
    return development_pki()


@pytest.fixture
def maker(tmp_path: Path, pki: DevelopmentPki) -> Maker:
    return Maker(directory=tmp_path, pki=pki)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files.write(tmp_path)
