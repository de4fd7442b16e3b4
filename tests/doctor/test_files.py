"""The certificate files, as they are."""

from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from gateway.doctor.files import read_material
from gateway.settings.model import Client, Tls
from gateway.simulator.pki import development_pki, issue, make_pki, subject_name
from tests.doctor.seen import NOW


def settings(directory: Path) -> Tls:
    files = make_pki(directory)
    return Tls(
        certificate=files.server_certificate,
        private_key=directory / "not there",  # private keys are left alone
        clients={"meta": Client(trust_anchors=(files.meta_ca, directory / "old.pem"), names=("a",))},
    )


def test_chain_and_anchors_are_read_and_keys_are_not(tmp_path: Path) -> None:
    tls = settings(tmp_path / "certs")
    subject = subject_name(
        (NameOID.ORGANIZATION_NAME, "DigiCert Inc"), (NameOID.COMMON_NAME, "DigiCert Look-alike Root")
    )
    (tmp_path / "certs" / "old.pem").write_bytes(issue(subject, issuer=None, ca=True).pem)
    material = read_material(tls, NOW)
    assert "localhost" in material.chain[0].names
    assert [(one.client, one.organizations, one.staged) for one in material.anchors] == [
        ("meta", ("meta-webhook-gateway development",), False),
        ("meta", ("DigiCert Inc",), False),
    ]


def test_staged_anchors_and_revocation_lists_are_read_as_such(tmp_path: Path) -> None:
    pki = development_pki()
    tls = settings(tmp_path / "certs")
    staged, listed = tmp_path / "staged.pem", tmp_path / "meta.crl"
    staged.write_bytes(pki.meta_root.pem)
    crl = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(pki.meta_root.certificate.subject)
        .last_update(NOW - timedelta(days=9))
        .next_update(NOW - timedelta(days=2))
        .sign(pki.meta_root.key, hashes.SHA256())
    )
    listed.write_bytes(crl.public_bytes(serialization.Encoding.PEM))
    client = tls.clients["meta"].model_copy(
        update={"staged_anchors": (staged,), "revocation_lists": (listed,), "revocation_strict": True}
    )
    material = read_material(tls.model_copy(update={"clients": {"meta": client}}), NOW)
    assert [one.staged for one in material.anchors] == [False, True]
    (one,) = material.lists
    assert (one.client, one.revoked, one.strict) == ("meta", 0, True)
    assert one.outdated


def test_a_file_that_cannot_be_read_hides_no_other(tmp_path: Path) -> None:
    tls = settings(tmp_path / "certs")
    tls.certificate.write_text("nonsense")
    material = read_material(tls, NOW)
    assert material.chain == ()
    assert len(material.anchors) == 1
