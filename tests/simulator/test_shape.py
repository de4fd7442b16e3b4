"""The shape of Meta's PKI, read back from files."""

from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from gateway.simulator.pki import PkiFiles, authority, client_leaf, common_name, issue, make_pki
from gateway.simulator.shape import shape_of
from gateway.tls.certificate import describe, read_certificates


def test_a_development_pki_has_metas_shape(tmp_path: Path) -> None:
    looked_at = list(shape_of(make_pki(tmp_path / "certs")))
    assert len(looked_at) == 4
    assert all(ok for _, _, _, ok in looked_at), looked_at


def test_the_subject_is_told_as_certs_show_prints_it(tmp_path: Path) -> None:
    files = make_pki(tmp_path / "certs")
    (*_, (_, told, _, _)) = shape_of(files)
    (leaf, _) = read_certificates(files.client_certificate)
    assert told == describe(leaf).subject


def test_another_shape_is_told(tmp_path: Path) -> None:
    """No intermediate, a root that ends before 2050, a CN that is last, a key on another curve."""
    root = authority("Root", not_after=datetime(2049, 12, 31, tzinfo=UTC))
    leaf = issue(common_name("client.example"), issuer=root, key=ec.generate_private_key(ec.SECP384R1()))
    files = PkiFiles.in_directory(tmp_path)
    files.client_certificate.write_bytes(leaf.pem)
    files.meta_ca.write_bytes(root.pem)
    assert [ok for _, _, _, ok in shape_of(files)] == [False, False, False, False]


def test_a_chain_that_does_not_hang_together_is_told(tmp_path: Path) -> None:
    root, stranger = authority("Root"), authority("Stranger")
    intermediate = authority("Intermediate", issuer=stranger)
    files = PkiFiles.in_directory(tmp_path)
    files.client_certificate.write_bytes(client_leaf(intermediate).pem + intermediate.pem)
    files.meta_ca.write_bytes(root.pem)
    assert next(shape_of(files))[3] is False
