"""The Graph stand-in, and a CA that is trusted by SSL_CERT_FILE."""

from pathlib import Path

import pytest
import trio
import trustme

from tests.graph.stand_in import StandIn, write_ca


@pytest.fixture(scope="session")
def graph_ca() -> trustme.CA:
    """Return the CA of the stand-in."""
    return trustme.CA()


@pytest.fixture
def trusted(graph_ca: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have OpenSSL trust the stand-in's CA, and nothing else."""
    monkeypatch.setenv("SSL_CERT_FILE", str(write_ca(graph_ca, tmp_path)))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "none"))


@pytest.fixture
async def stand_in(graph_ca: trustme.CA, trusted: None, nursery: trio.Nursery) -> StandIn:
    """Return a stand-in that listens."""
    served = StandIn(graph_ca)
    await nursery.start(served.serve)
    return served
