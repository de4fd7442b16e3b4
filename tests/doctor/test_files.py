"""The certificate files, as they are."""

from pathlib import Path

from cryptography.x509.oid import NameOID

from gateway.doctor.files import read_material
from gateway.settings.model import Client, Tls
from gateway.simulator.pki import issue, make_pki, subject_name


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
    material = read_material(tls)
    assert material.faults == ()
    assert "localhost" in material.chain[0].names
    assert [(one.client, one.organizations, one.staged) for one in material.anchors] == [
        ("meta", ("meta-webhook-gateway development",), False),
        ("meta", ("DigiCert Inc",), False),
    ]


def test_a_file_that_cannot_be_read_hides_no_other(tmp_path: Path) -> None:
    tls = settings(tmp_path / "certs")
    tls.certificate.write_text("nonsense")
    material = read_material(tls)
    assert material.chain == ()
    assert len(material.anchors) == 1
    assert [message.partition(" ")[0] for message, _ in material.faults] == [
        str(tls.certificate),
        str(tmp_path / "certs" / "old.pem"),
    ]
