"""One more client certificate, and one less: as the gateway's own eyes see them."""

from pathlib import Path

import pytest
from cryptography import x509

from gateway.errors import UsageError
from gateway.simulator.authorities import issue_client, revoke_client
from gateway.simulator.pki import META_CLIENT_NAME, PkiFiles, make_pki


@pytest.fixture
def pki(tmp_path: Path) -> PkiFiles:
    return make_pki(tmp_path / "certs")


def test_what_is_issued_has_the_chain_of_the_first(pki: PkiFiles) -> None:
    directory = pki.server_ca.parent
    certificate, key = issue_client(directory, "second", common_name=META_CLIENT_NAME, days=10)
    first, second = (
        x509.load_pem_x509_certificates(path.read_bytes()) for path in (pki.client_certificate, certificate)
    )
    assert second[1] == first[1]
    assert second[0].subject == first[0].subject
    assert second[0].serial_number != first[0].serial_number
    second[0].verify_directly_issued_by(second[1])
    assert key.stat().st_mode & 0o777 == 0o600


def test_the_list_keeps_what_it_had_and_is_the_issuers(pki: PkiFiles) -> None:
    directory = pki.server_ca.parent
    second, _ = issue_client(directory, "second", common_name="other.example", days=10)
    path, count = revoke_client(directory, pki.client_certificate)
    assert count == 1
    assert revoke_client(directory, second) == (path, 2)
    assert revoke_client(directory, second) == (path, 2)
    revoked = x509.load_pem_x509_crl(path.read_bytes())
    (issuer,) = x509.load_pem_x509_certificates(pki.issuing_ca.read_bytes())
    assert revoked.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]  # any kind of key
    serials = {one.serial_number for one in revoked}
    for file in (pki.client_certificate, second):
        assert x509.load_pem_x509_certificate(file.read_bytes()).serial_number in serials
    assert [one.name for one in directory.iterdir() if one.name.startswith(".")] == []


def test_nothing_of_another_authority_is_revoked(pki: PkiFiles, tmp_path: Path) -> None:
    other = make_pki(tmp_path / "other")
    directory = pki.server_ca.parent
    for stranger in (other.client_certificate, pki.server_certificate):
        with pytest.raises(UsageError, match="was not issued by the authority"):
            revoke_client(directory, stranger)
    revoke_client(directory, pki.client_certificate)
    (tmp_path / "other" / "revoked.pem").write_bytes((directory / "revoked.pem").read_bytes())
    # The authorities' names are the same in every development PKI; their keys are not.
    with pytest.raises(UsageError, match="another authority"):
        revoke_client(tmp_path / "other", other.client_certificate)


@pytest.mark.parametrize("content", [None, b"no key"])
def test_without_its_authority_the_next_step_is_named(pki: PkiFiles, content: bytes | None) -> None:
    pki.issuing_key.unlink() if content is None else pki.issuing_key.write_bytes(content)
    with pytest.raises(UsageError, match="gateway certs make"):
        issue_client(pki.server_ca.parent, "second", common_name="x", days=1)


def test_nothing_is_overwritten(pki: PkiFiles) -> None:
    before = pki.client_certificate.read_bytes()
    with pytest.raises(UsageError, match="exists"):
        issue_client(pki.server_ca.parent, "client", common_name="x", days=1)
    assert pki.client_certificate.read_bytes() == before
