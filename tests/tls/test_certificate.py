"""Certificate and key files: what is read, and how it is told where it cannot be."""

import base64
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.simulator.pki import (
    CLIENT_AUTH,
    DevelopmentPki,
    authority,
    chain_pem,
    common_name,
    issue,
    p256_key,
    server_leaf,
)
from gateway.tls.certificate import (
    CertificateFileError,
    describe,
    is_ca,
    is_development,
    read_anchors,
    read_certificates,
    read_private_key,
)


def test_a_certificate_is_described(pki: DevelopmentPki) -> None:
    said = describe(pki.server.certificate)
    assert said.subject == "O=meta-webhook-gateway development,CN=localhost"
    assert said.names == ("localhost", "127.0.0.1", "::1")
    assert said.key == "ECDSA P-256"
    assert said.purposes == ("serverAuth",)
    assert not said.is_ca
    assert not said.self_issued
    assert said.development
    assert said.sha256_colons.replace(":", "").lower() == said.sha256
    assert said.days_left(said.not_before) == (said.not_after - said.not_before).days


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (rsa.generate_private_key(65537, 2048), "RSA 2048"),
        (ed25519.Ed25519PrivateKey.generate(), "Ed25519"),
        (ec.generate_private_key(ec.SECP384R1()), "ECDSA P-384"),
    ],
)
def test_keys_are_named(key: rsa.RSAPrivateKey, said: str) -> None:
    assert describe(issue(common_name("x"), issuer=None, key=key).certificate).key == said


def test_what_may_issue_is_a_ca(pki: DevelopmentPki) -> None:
    assert is_ca(pki.meta_root.certificate)
    assert is_ca(pki.meta_intermediate.certificate)
    assert not is_ca(pki.meta_client.certificate)
    assert not is_ca(issue(common_name("no constraints"), issuer=None, ca=None).certificate)
    forbidden = issue(
        common_name("CA by constraint, not by usage"), issuer=None, ca=True, key_cert_sign=False
    )
    assert not is_ca(forbidden.certificate)


def test_a_development_certificate_is_known_by_its_issuer_too(pki: DevelopmentPki) -> None:
    assert is_development(issue(common_name("x"), issuer=pki.meta_root).certificate)
    assert not is_development(issue(common_name("x"), issuer=None).certificate)


def test_a_file_is_read_in_its_order_whatever_stands_around(tmp_path: Path, pki: DevelopmentPki) -> None:
    file = tmp_path / "chain.pem"
    file.write_bytes(
        b"a comment\r\n" + chain_pem(pki.meta_client, pki.meta_intermediate) + pki.server.key_pem
    )
    assert read_certificates(file) == (pki.meta_client.certificate, pki.meta_intermediate.certificate)


def complaint(file: Path) -> str:
    with pytest.raises(CertificateFileError) as caught:
        read_certificates(file)
    assert str(file) in caught.value.message
    assert caught.value.remedy
    return str(caught.value)


def test_what_is_wrong_with_a_certificate_file_is_told(tmp_path: Path, pki: DevelopmentPki) -> None:
    file = tmp_path / "x.pem"
    assert "does not exist" in complaint(file)
    assert "cannot be read" in complaint(tmp_path)
    file.write_bytes(b" \n")
    assert "is empty" in complaint(file)
    file.write_bytes(b"hello")
    assert "not PEM" in complaint(file)
    file.write_bytes(pki.server.certificate.public_bytes(serialization.Encoding.DER))
    assert f"openssl x509 -inform der -in {file}" in complaint(file)
    file.write_bytes(pki.server.key_pem)
    assert "holds a private key, not a certificate" in complaint(file)
    file.write_bytes(pki.server.pem.replace(b"MII", b"MIJ", 1))
    assert "is damaged" in complaint(file)
    file.write_bytes(b"x" * 5_000_000)
    assert "too big" in complaint(file)


def key_complaint(file: Path) -> str:
    with pytest.raises(CertificateFileError) as caught:
        read_private_key(file)
    assert caught.value.remedy
    return str(caught.value)


def test_what_is_wrong_with_a_key_file_is_told(tmp_path: Path, pki: DevelopmentPki) -> None:
    file = tmp_path / "x.key"
    assert "does not exist" in key_complaint(file)
    file.write_bytes(pki.server.pem)
    assert "holds a certificate" in key_complaint(file)
    file.write_bytes(b"secret words")
    assert "no private key in PEM" in key_complaint(file)
    assert "secret words" not in key_complaint(file)
    encrypted = p256_key().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"x"),
    )
    file.write_bytes(encrypted)
    assert "encrypted with a passphrase" in key_complaint(file)
    file.write_bytes(b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    assert "cannot be decoded" in key_complaint(file)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=400), st.integers(0, 1500), st.booleans())
def test_whatever_a_file_holds_the_error_is_ours(
    tmp_path: Path, pki: DevelopmentPki, noise: bytes, at: int, armoured: bool
) -> None:
    file = tmp_path / "noise.pem"
    whole = chain_pem(pki.server, pki.server_root)
    file.write_bytes(whole[:at] + noise + whole[at + len(noise) :] if armoured else noise)
    for read in (read_certificates, read_private_key, lambda path: read_anchors((path,))):
        with suppress(CertificateFileError):
            read(file)


def test_anchors_come_from_files_and_directories(tmp_path: Path, pki: DevelopmentPki) -> None:
    other = authority("Other root")
    (tmp_path / "one.pem").write_bytes(chain_pem(pki.meta_root, pki.meta_intermediate))
    directory = tmp_path / "anchors"
    directory.mkdir()
    (directory / "b.crt").write_bytes(other.pem)
    (directory / "README").write_text("not read")
    (directory / ".git").mkdir()
    anchors = read_anchors((tmp_path / "one.pem", directory))
    assert [anchor.certificate for anchor in anchors] == [
        pki.meta_root.certificate,
        pki.meta_intermediate.certificate,
        other.certificate,
    ]
    assert anchors[2].path == directory / "b.crt"
    assert len(anchors[0].sha256) == 64


def test_a_path_that_cannot_be_looked_at_is_told_and_not_raised(tmp_path: Path) -> None:
    with pytest.raises(CertificateFileError, match="File name too long"):
        read_anchors((tmp_path / ("x" * 300),))


def test_what_is_no_anchor_is_refused(tmp_path: Path, pki: DevelopmentPki) -> None:
    with pytest.raises(CertificateFileError, match="no trust anchor"):
        read_anchors((tmp_path,))
    (tmp_path / "leaf.pem").write_bytes(server_leaf(None).pem)
    with pytest.raises(CertificateFileError, match="not a CA"):
        read_anchors((tmp_path,))
    (tmp_path / "leaf.pem").write_bytes(
        issue(common_name("x"), issuer=pki.meta_root, extended_key_usage=(CLIENT_AUTH,)).pem
    )
    with pytest.raises(CertificateFileError, match="not a CA"):
        read_anchors((tmp_path,))


def test_a_certificate_of_no_known_version_is_damaged(tmp_path: Path, pki: DevelopmentPki) -> None:
    """X.509 ends with version 3; cryptography says so with an exception of its own kind."""
    der = pki.meta_root.certificate.public_bytes(serialization.Encoding.DER)
    body = base64.encodebytes(der.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x03", 1))
    path = tmp_path / "meta.pem"
    path.write_bytes(b"-----BEGIN CERTIFICATE-----\n" + body + b"-----END CERTIFICATE-----\n")
    with pytest.raises(CertificateFileError, match="damaged"):
        read_certificates(path)


def test_a_name_with_a_kind_of_string_that_it_cannot_have_is_an_error(tmp_path: Path) -> None:
    """cryptography raises TypeError there, and only once the name is read."""
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "\0abc")])
    der = issue(name, issuer=None, ca=True).certificate.public_bytes(serialization.Encoding.DER)
    bits = der.replace(b"\x0c\x04\0abc", b"\x03\x04\0abc")
    assert bits != der
    path = tmp_path / "odd.pem"
    path.write_bytes(
        b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(bits) + b"-----END CERTIFICATE-----\n"
    )
    with pytest.raises(CertificateFileError, match="cannot be read"):
        read_anchors([path])
