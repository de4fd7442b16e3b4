"""Which files hold a revocation list that can be used, and what is said of the others."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.simulator.pki import DevelopmentPki, authority, client_leaf, issue, p256_key, revocation_list
from gateway.tls.certificate import CertificateFileError
from gateway.tls.revocation import RevocationList, RevocationLists
from gateway.tls.revocation_files import MAX_LIST_BYTES, read_revocation_lists

NOW = datetime.now(UTC)
DAY = timedelta(days=1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "meta.crl"


def read(pki: DevelopmentPki, *paths: Path) -> tuple[RevocationList, ...]:
    return read_revocation_lists(paths, issuers=(pki.meta_root.certificate,))


def complaint(pki: DevelopmentPki, path: Path) -> str:
    with pytest.raises(CertificateFileError) as caught:
        read(pki, path)
    assert caught.value.remedy
    assert str(path) in caught.value.message
    return caught.value.message


@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
def test_pem_and_der_are_read(pki: DevelopmentPki, path: Path, encoding: Encoding) -> None:
    path.write_bytes(revocation_list(pki.meta_root, pki.meta_intermediate).public_bytes(encoding))
    (one,) = read(pki, path)
    assert one.serials == {pki.meta_intermediate.certificate.serial_number}
    assert one.known_issuer


def test_a_file_may_hold_several_and_a_directory_some_files(pki: DevelopmentPki, tmp_path: Path) -> None:
    root = revocation_list(pki.meta_root).public_bytes(Encoding.PEM)
    below = revocation_list(pki.meta_intermediate).public_bytes(Encoding.PEM)
    (tmp_path / "both.pem").write_bytes(b"# fetched today\n" + root + below)
    (tmp_path / "README").write_text("not a list")
    lists = read(pki, tmp_path)
    assert [one.known_issuer for one in lists] == [True, False]


def test_of_several_by_one_key_the_newest_counts(pki: DevelopmentPki, tmp_path: Path) -> None:
    """A certificate that was on hold, and is released."""
    old = revocation_list(pki.meta_root, pki.meta_intermediate, this_update=NOW - 9 * DAY)
    for name, crl in (("a.crl", old), ("b.crl", revocation_list(pki.meta_root)), ("c.crl", old)):
        (tmp_path / name).write_bytes(crl.public_bytes(Encoding.DER))
    (one,) = read(pki, tmp_path)
    assert one.serials == frozenset()
    assert one.path.name == "b.crl"


def test_lists_for_different_parts_stand_side_by_side(pki: DevelopmentPki, tmp_path: Path) -> None:
    def part(name: str) -> x509.IssuingDistributionPoint:
        return x509.IssuingDistributionPoint(
            full_name=[x509.UniformResourceIdentifier(f"http://crl.example/{name}")],
            relative_name=None, only_contains_user_certs=False, only_contains_ca_certs=False,
            only_some_reasons=None, indirect_crl=False, only_contains_attribute_certs=False,
        )  # fmt: skip

    for name, revoked in (("1", (pki.meta_intermediate,)), ("2", ())):
        crl = revocation_list(pki.meta_root, *revoked, critical=(part(name),))
        (tmp_path / f"{name}.crl").write_bytes(crl.public_bytes(Encoding.DER))
    assert [len(one.serials) for one in read(pki, tmp_path)] == [1, 0]


def test_an_expired_list_is_read(pki: DevelopmentPki, path: Path) -> None:
    crl = revocation_list(pki.meta_root, this_update=NOW - 9 * DAY, next_update=NOW - DAY)
    path.write_bytes(crl.public_bytes(Encoding.PEM))
    assert len(read(pki, path)) == 1


def test_a_list_of_an_intermediate_is_taken_unverified_and_says_so(pki: DevelopmentPki, path: Path) -> None:
    path.write_bytes(revocation_list(pki.meta_intermediate).public_bytes(Encoding.PEM))
    (one,) = read(pki, path)
    assert not one.known_issuer


def test_a_list_by_another_key_of_the_anchors_name_is_an_unknown_issuers(
    pki: DevelopmentPki, path: Path
) -> None:
    namesake = authority("Meta-like outbound root CA")
    path.write_bytes(revocation_list(namesake).public_bytes(Encoding.PEM))
    (one,) = read(pki, path)
    assert not one.known_issuer


@pytest.mark.parametrize("identified", [True, False])
def test_a_badly_signed_list_is_an_error(pki: DevelopmentPki, path: Path, identified: bool) -> None:
    crl = revocation_list(pki.meta_root, signing_key=p256_key(), identified=identified)
    path.write_bytes(crl.public_bytes(Encoding.PEM))
    assert "badly signed" in complaint(pki, path)


def test_a_list_that_was_changed_after_signing_is_an_error(pki: DevelopmentPki, path: Path) -> None:
    crl = revocation_list(pki.meta_root, pki.meta_intermediate)
    serial = pki.meta_intermediate.certificate.serial_number.to_bytes(20, "big").lstrip(b"\0")
    path.write_bytes(crl.public_bytes(Encoding.DER).replace(serial, bytes(len(serial) - 1) + b"\1"))
    assert "badly signed" in complaint(pki, path) or "damaged" in complaint(pki, path)


def delta() -> x509.ExtensionType:
    return x509.DeltaCRLIndicator(1)


def indirect() -> x509.ExtensionType:
    return x509.IssuingDistributionPoint(
        full_name=None, relative_name=None, only_contains_user_certs=False, only_contains_ca_certs=False,
        only_some_reasons=None, indirect_crl=True, only_contains_attribute_certs=False,
    )  # fmt: skip


def unknown() -> x509.ExtensionType:
    return x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")


@pytest.mark.parametrize(
    ("extension", "words"),
    [(delta(), "delta list"), (indirect(), "indirect list"), (unknown(), "not understood (1.2.3.4)")],
)
def test_kinds_that_are_not_understood_are_refused(
    pki: DevelopmentPki, path: Path, extension: x509.ExtensionType, words: str
) -> None:
    crl = revocation_list(pki.meta_root, critical=(extension,))
    path.write_bytes(crl.public_bytes(Encoding.PEM))
    assert words in complaint(pki, path)


def test_an_entry_that_is_not_understood_spoils_its_list(pki: DevelopmentPki, path: Path) -> None:
    """RFC 5280 section 5.3: such as an entry for another issuer's certificate."""
    other = x509.CertificateIssuer([x509.DirectoryName(pki.server_root.certificate.subject)])
    entry = (
        x509.RevokedCertificateBuilder()
        .serial_number(5)
        .revocation_date(NOW)
        .add_extension(other, critical=True)
        .build()
    )
    crl = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(pki.meta_root.certificate.subject)
        .last_update(NOW)
        .next_update(NOW + DAY)
        .add_revoked_certificate(entry)
        .sign(pki.meta_root.key, hashes.SHA256())
    )
    path.write_bytes(crl.public_bytes(Encoding.PEM))
    assert "critical extension" in complaint(pki, path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"<html>404</html>", "no revocation list"),
        (b"\x30\x03\x02\x01\x01", "no revocation list"),
        (b"-----BEGIN X509 CRL-----\n!!!!\n-----END X509 CRL-----\n", "damaged"),
        (b"-----BEGIN X509 CRL-----\nAAAA\n", "something else"),
    ],
)
def test_what_is_no_list_is_an_error(pki: DevelopmentPki, path: Path, content: bytes, words: str) -> None:
    path.write_bytes(content)
    assert words in complaint(pki, path)


def test_a_certificate_in_place_of_a_list_is_named(pki: DevelopmentPki, path: Path) -> None:
    path.write_bytes(client_leaf(pki.meta_root).pem)
    assert "holds a certificate, not a revocation list" in complaint(pki, path)


def test_a_list_that_is_missing_or_endless_is_an_error(pki: DevelopmentPki, path: Path) -> None:
    assert "does not exist" in complaint(pki, path)
    with path.open("wb") as file:
        file.write(b"0")
        file.truncate(MAX_LIST_BYTES + 1)
    assert "too big for a revocation list" in complaint(pki, path)


def test_a_directory_without_lists_is_an_error(pki: DevelopmentPki, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    assert "no revocation list in" in complaint(pki, tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_directory_that_may_not_be_read_is_an_error(pki: DevelopmentPki, tmp_path: Path) -> None:
    tmp_path.chmod(0o300)
    try:
        assert "cannot be read" in complaint(pki, tmp_path)
    finally:
        tmp_path.chmod(0o700)


LIST = revocation_list(authority("fuzzed"), client_leaf(None)).public_bytes(Encoding.DER)


@given(
    changes=st.lists(st.tuples(st.integers(0, len(LIST) - 1), st.integers(0, 255)), max_size=6),
    end=st.integers(0, len(LIST)),
)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_bytes_are_they_are_a_list_or_an_error(
    path: Path, pki: DevelopmentPki, changes: list[tuple[int, int]], end: int
) -> None:
    data = bytearray(LIST)
    for at, byte in changes:
        data[at] = byte
    path.write_bytes(data[:end] if end < len(data) // 4 else data)
    try:
        (one,) = read_revocation_lists((path,), issuers=())
    except CertificateFileError:
        return
    chain = [issued.certificate for issued in (pki.meta_client, pki.meta_intermediate, pki.meta_root)]
    RevocationLists((one,), strict=True).find_fault(chain, now=NOW)
    assert one.issuer.rfc4514_string() is not None


def test_a_name_with_a_kind_of_string_that_it_cannot_have_is_an_error(
    pki: DevelopmentPki, path: Path
) -> None:
    """cryptography raises TypeError there, and only once the name is read."""
    issuer = issue(
        x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "\0abc")]), issuer=None, ca=True
    )
    der = revocation_list(issuer).public_bytes(Encoding.DER)
    path.write_bytes(der.replace(b"\x0c\x04\0abc", b"\x03\x04\0abc"))
    assert path.read_bytes() != der
    assert "cannot be read" in complaint(pki, path)


def test_lists_of_two_cas_of_one_name_stand_side_by_side(tmp_path: Path) -> None:
    """Without key identifiers it is the signature that tells them apart."""
    cas = [authority("one name"), authority("one name")]
    for number, ca in enumerate(cas):
        crl = revocation_list(ca, ca, identified=False)
        (tmp_path / f"{number}.crl").write_bytes(crl.public_bytes(Encoding.DER))
    lists = read_revocation_lists((tmp_path,), issuers=[ca.certificate for ca in cas])
    assert {serial for one in lists for serial in one.serials} == {ca.certificate.serial_number for ca in cas}
