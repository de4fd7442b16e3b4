"""Fixtures of the stories."""

from pathlib import Path

import pytest

from gateway.simulator.pki import PkiFiles, make_pki
from tests.stories.faults import Faults, build
from tests.stories.rig import Rig


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> PkiFiles:
    """One development PKI for all stories."""
    return make_pki(tmp_path_factory.mktemp("pki") / "certs")


@pytest.fixture
def rig(tmp_path: Path, pki: PkiFiles) -> Rig:
    """A gateway that is not yet configured."""
    return Rig(directory=tmp_path, pki=pki)


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> int:
    """How often the gateway is killed."""
    return int(request.config.getoption("--rounds"))


@pytest.fixture(scope="session")
def fault_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Faults of the machine, compiled once."""
    return build(tmp_path_factory.mktemp("faults"))


@pytest.fixture
def faults(fault_library: Path, rig: Rig) -> Faults:
    """Faults of the machine on order, for every process of this rig."""
    made = Faults(fault_library, rig.directory / "orders")
    rig.environ = made.environ
    return made
