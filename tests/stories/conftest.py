"""Fixtures of the stories."""

from pathlib import Path

import pytest

from gateway.simulator.pki import PkiFiles, make_pki
from tests.stories.rig import Rig


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> PkiFiles:
    """One development PKI for all stories."""
    return make_pki(tmp_path_factory.mktemp("pki") / "certs")


@pytest.fixture
def rig(tmp_path: Path, pki: PkiFiles) -> Rig:
    """A gateway that is not yet configured."""
    return Rig(directory=tmp_path, pki=pki)
