"""The development PKI has Meta's shape, and its files are safe to make."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from cryptography.x509.verification import PolicyBuilder, Store

from gateway.errors import UsageError
from gateway.simulator.pki import META_CLIENT_NAME, development_pki, make_pki


def test_the_chain_has_the_shape_of_metas() -> None:
    pki = development_pki()
    root, intermediate, leaf = (
        one.certificate for one in (pki.meta_root, pki.meta_intermediate, pki.meta_client)
    )
    assert leaf.issuer == intermediate.subject
    assert intermediate.issuer == root.subject == root.issuer
    leaf.verify_directly_issued_by(intermediate)
    intermediate.verify_directly_issued_by(root)
    for certificate in (root, intermediate, leaf):
        key = certificate.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        assert isinstance(key.curve, ec.SECP256R1)
    assert root.not_valid_after_utc > datetime(2050, 1, 1, tzinfo=UTC), "GeneralizedTime from 2050 on"


def test_the_common_name_stands_neither_first_nor_last() -> None:
    attributes = list(development_pki().meta_client.certificate.subject)
    positions = [index for index, one in enumerate(attributes) if one.oid == NameOID.COMMON_NAME]
    assert len(positions) == 1
    assert 0 < positions[0] < len(attributes) - 1
    assert attributes[positions[0]].value == META_CLIENT_NAME


def test_the_files_hold_keys_that_fit_and_nobody_else_may_read(tmp_path: Path) -> None:
    directory = tmp_path / "certs"
    files = make_pki(directory)
    assert sorted(path.name for path in directory.iterdir()) == [
        "authority", "ca.pem", "client.key", "client.pem", "meta-ca.pem", "server.key", "server.pem",
    ]  # fmt: skip
    for key in (files.server_key, files.client_key, files.issuing_key):
        assert key.stat().st_mode & 0o777 == 0o600
    assert len(x509.load_pem_x509_certificates(files.client_certificate.read_bytes())) == 2


def test_the_server_certificate_is_good_for_the_names_asked_for(tmp_path: Path) -> None:
    files = make_pki(tmp_path, names=("hooks.example.com", "127.0.0.1"))
    chain = x509.load_pem_x509_certificates(files.server_certificate.read_bytes())
    root = x509.load_pem_x509_certificate(files.server_ca.read_bytes())
    # cryptography's own verifier, strict as a browser's, must be content.
    verifier = PolicyBuilder().store(Store([root])).build_server_verifier(x509.DNSName("hooks.example.com"))
    assert verifier.verify(chain[0], chain[1:])


def test_nothing_is_ever_overwritten(tmp_path: Path) -> None:
    (tmp_path / "client.key").write_text("mine")
    with pytest.raises(UsageError, match=r"client\.key exists"):
        make_pki(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["client.key"]
    assert (tmp_path / "client.key").read_text() == "mine"
