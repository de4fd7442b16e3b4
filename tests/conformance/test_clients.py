"""A program that is missing is seen, and a chain that a client does not load is told apart from a refusal."""

from pathlib import Path

import pytest

from conformance.clients import Call, ClientUnableError, OpenSsl, PythonSsl, is_there, write_chain
from conformance.specimen import Ground


def test_a_program_that_is_not_installed_is_seen() -> None:
    assert is_there(PythonSsl())
    assert not is_there(OpenSsl(program="no-such-program"))


def test_nothing_is_written_for_a_client_without_certificate(tmp_path: Path) -> None:
    assert write_chain(tmp_path, ()) == (None, None)
    assert list(tmp_path.iterdir()) == []


async def test_a_chain_that_the_client_does_not_load_is_no_refusal(tmp_path: Path) -> None:
    ground = Ground()
    chain, key = write_chain(tmp_path, ground.leaf())
    assert chain is not None
    chain.write_bytes(b"no certificate")
    (tmp_path / "ca.pem").write_bytes(ground.pki.server_root.pem)
    call = Call(port=9, ca=tmp_path / "ca.pem", chain=chain, key=key, version="1.3", request=b"")
    with pytest.raises(ClientUnableError):
        await PythonSsl().converse(call)
