"""What check says of certificates, keys and anchors: each mistake with its place and its remedy."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from gateway.settings.model import Client
from gateway.settings.values import Address
from gateway.simulator.pki import (
    CLIENT_AUTH,
    DevelopmentPki,
    Issued,
    authority,
    client_leaf,
    common_name,
    issue,
    p256_key,
    revocation_list,
    subject_name,
)
from gateway.tls.certificate import CertificateFileError
from gateway.tls.context import make_context
from gateway.tls.material import examine_tls
from gateway.tls.remarks import remarks_tls
from tests.tls.files import PUBLIC, Files, development_tls, production

NOW = datetime.now(UTC)
DAY = timedelta(days=1)
LOOPBACK = Address(host="127.0.0.1", port=8443)
CERTIFICATE = ("tls", "certificate")
KEY = ("tls", "private_key")
ANCHOR = ("tls", "clients", "meta", "trust_anchors", 0)
SHORT_RSA_BITS = 1024


def test_sound_files_are_fine_and_make_a_context(files: Files) -> None:
    assert files.examine() == []
    assert remarks_tls(files.tls) == []
    make_context(files.tls)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.8.8"])
def test_a_development_pki_is_fine_on_loopback(tmp_path: Path, host: str) -> None:
    tls = development_tls(tmp_path)
    assert examine_tls(tls, address=Address(host=host, port=1)) == []
    assert remarks_tls(tls) == []


@pytest.mark.parametrize("host", ["::", "0.0.0.0", "192.0.2.1", "hooks.example.com"])  # noqa: S104 # as given
def test_a_development_pki_is_refused_on_a_public_address(tmp_path: Path, host: str) -> None:
    problems = examine_tls(development_tls(tmp_path), address=Address(host=host, port=1))
    assert [problem.key_path for problem in problems] == [CERTIFICATE, ANCHOR]
    for problem in problems:
        assert "development CA" in problem.message
        assert host in problem.message
        assert problem.remedy


def unlink(path: str) -> Callable[[Files], None]:
    return lambda files: (files.directory / path).unlink()


def write(path: str, data: bytes) -> Callable[[Files], None]:
    def do(files: Files) -> None:
        (files.directory / path).write_bytes(data)

    return do


def encrypt_key(files: Files) -> None:
    files.tls.private_key.write_bytes(
        p256_key().private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"x"),
        )
    )


def chain_order_wrong(files: Files) -> None:
    server, root = production()
    files.serve(root, server, key=server.key)


def ca_alone(files: Files) -> None:
    files.serve(issue(common_name("CA"), issuer=None, ca=True))


def own_certificate_as_anchor(files: Files) -> None:
    (files.directory / "meta.pem").write_bytes(files.tls.certificate.read_bytes())


def own_certificate_in_directory(files: Files) -> None:
    (files.directory / "meta.pem").unlink()
    (files.directory / "meta.pem").mkdir()
    (files.directory / "meta.pem" / "a.pem").write_bytes(files.tls.certificate.read_bytes())


def server_with(**knobs: object) -> Callable[[Files], None]:
    return lambda files: files.serve(*production(**knobs))


def anchor_with(**knobs: object) -> Callable[[Files], None]:
    return lambda files: files.anchor(
        issue(common_name("Meta root"), issuer=None, **{"ca": True, **knobs})  # type: ignore[arg-type] # knobs
    )


MISTAKES = {
    "no certificate": (unlink("server.pem"), CERTIFICATE, "does not exist"),
    "certificate empty": (write("server.pem", b""), CERTIFICATE, "is empty"),
    "certificate not PEM": (write("server.pem", b"hello"), CERTIFICATE, "not PEM"),
    "no key": (unlink("server.key"), KEY, "does not exist"),
    "key is no key": (write("server.key", b"hello"), KEY, "no private key"),
    "key encrypted": (encrypt_key, KEY, "encrypted"),
    "key of another certificate": (
        lambda files: files.serve(*production(), key=p256_key()), KEY, "is not the private key of",
    ),
    "chain in the wrong order": (chain_order_wrong, CERTIFICATE, "certificate 2 in"),
    "a CA as server certificate": (ca_alone, CERTIFICATE, "begins with a CA"),
    "a client's certificate as server certificate": (
        server_with(extended_key_usage=(CLIENT_AUTH,)), CERTIFICATE, "no server certificate",
    ),
    "server certificate expired": (
        server_with(not_before=NOW - 9 * DAY, not_after=NOW - DAY), CERTIFICATE, "own certificate expired",
    ),
    "server certificate not yet valid": (
        server_with(not_before=NOW + DAY), CERTIFICATE, "is not valid before",
    ),
    "server key too short": (
        lambda files: files.serve(*production(key=rsa.generate_private_key(65537, SHORT_RSA_BITS))),
        CERTIFICATE, "OpenSSL refuses",
    ),
    "no anchor file": (unlink("meta.pem"), ANCHOR, "does not exist"),
    "anchor file empty": (write("meta.pem", b"\n"), ANCHOR, "is empty"),
    "anchor is no CA": (anchor_with(ca=False), ANCHOR, "not a CA"),
    "anchor expired": (
        anchor_with(not_before=NOW - 9 * DAY, not_after=NOW - DAY), ANCHOR, "trust anchor of meta expired",
    ),
    "anchor not yet valid": (anchor_with(not_before=NOW + DAY), ANCHOR, "is not valid before"),
    "own certificate as anchor": (own_certificate_as_anchor, ANCHOR, "holds the gateway's own certificate"),
    "own certificate in the directory": (
        own_certificate_in_directory, ANCHOR, "holds the gateway's own certificate",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("spoil", "key_path", "says"), MISTAKES.values(), ids=MISTAKES.keys())
def test_each_mistake_is_told_once_at_its_place(
    files: Files, spoil: Callable[[Files], None], key_path: tuple[str | int, ...], says: str
) -> None:
    spoil(files)
    problems = files.examine()
    assert [problem.key_path for problem in problems] == [key_path]
    assert says in problems[0].message
    assert problems[0].remedy
    remarks_tls(files.tls)  # never raises


def public_policy() -> x509.CertificatePolicies:
    """What every public CA puts in (CA/Browser Forum, Baseline Requirements, section 7.1.6.1)."""
    domain_validated = x509.ObjectIdentifier("2.23.140.1.2.1")
    return x509.CertificatePolicies([x509.PolicyInformation(domain_validated, None)])


def test_the_public_ca_of_the_own_certificate_is_no_anchor_for_meta(files: Files) -> None:
    """The root does not stand in the chain that is served: the signature tells."""
    root = issue(common_name("ISRG"), issuer=None, ca=True)
    between = issue(common_name("R10"), issuer=root, ca=True)
    names = ("hooks.example.com",)
    files.serve(issue(common_name(names[0]), issuer=between, names=names, extra=(public_policy(),)), between)
    files.anchor(issue(common_name("Meta root"), issuer=None, ca=True), root)
    (problem,) = files.examine()
    assert problem.key_path == ANCHOR
    assert "CN=ISRG" in problem.message
    assert "issued the gateway's own certificate" in problem.message
    assert "public" in problem.message
    assert "Meta" in problem.remedy
    assert remarks_tls(files.tls) == []


def test_a_public_ca_may_be_meant_for_clients_of_ones_own(files: Files) -> None:
    server, root = production(extra=(public_policy(),))
    files.serve(server, root)
    files.anchor(root)
    own = Client(trust_anchors=files.tls.clients["meta"].trust_anchors, names=("probe.example.com",))
    tls = files.tls.model_copy(update={"clients": {"probe": own}})
    assert examine_tls(tls, address=PUBLIC) == []
    (remark,) = remarks_tls(tls)
    assert "also the CA of the gateway's own certificate" in remark.message


def test_the_development_ca_of_the_server_is_no_anchor(tmp_path: Path) -> None:
    made = development_tls(tmp_path)
    anchor = made.certificate.parent / "ca.pem"
    client = made.clients["meta"].model_copy(update={"trust_anchors": (anchor,)})
    tls = made.model_copy(update={"clients": {"meta": client}})
    (problem,) = examine_tls(tls, address=LOOPBACK)
    assert problem.key_path == ANCHOR
    assert str(anchor) in problem.message
    assert "meta-ca.pem" in problem.remedy
    assert remarks_tls(tls) == []


def test_an_expired_anchor_is_named_and_told_once(files: Files) -> None:
    root = issue(common_name("Old"), issuer=None, ca=True, not_before=NOW - 9 * DAY, not_after=NOW - DAY)
    files.anchor(root)
    (problem,) = files.examine()
    assert "CN=Old" in problem.message
    assert remarks_tls(files.tls) == []


def test_an_empty_directory_of_anchors_is_a_mistake(files: Files) -> None:
    (files.directory / "meta.pem").unlink()
    (files.directory / "meta.pem").mkdir()
    (problem,) = files.examine()
    assert problem.key_path == ANCHOR
    assert "no trust anchor" in problem.message


def test_several_mistakes_are_told_together(files: Files) -> None:
    files.tls.private_key.unlink()
    (files.directory / "meta.pem").write_bytes(b"")
    assert [problem.key_path for problem in files.examine()] == [KEY, ANCHOR]


def test_without_the_key_the_rest_is_examined(files: Files) -> None:
    files.tls.private_key.unlink()
    assert examine_tls(files.tls, address=PUBLIC, with_key=False) == []


def test_the_context_refuses_what_the_examination_would(files: Files, pki: DevelopmentPki) -> None:
    files.anchor(pki.meta_client)
    with pytest.raises(CertificateFileError, match="not a CA"):
        make_context(files.tls)
    files.anchor(authority("fine"))
    files.tls.private_key.write_bytes(Issued(certificate=pki.server.certificate, key=p256_key()).key_pem)
    with pytest.raises(CertificateFileError, match="is not the private key of"):
        make_context(files.tls)


def test_a_certificate_with_an_empty_subject_can_serve(files: Files) -> None:
    root = issue(common_name("Public root"), issuer=None, ca=True)
    files.serve(issue(subject_name(), issuer=root, names=("hooks.example.com",)), root)
    assert files.examine() == []


def test_staged_anchors_are_examined_as_anchors_are(files: Files) -> None:
    staged = files.directory / "next.pem"
    chosen = files.with_client(staged_anchors=(staged,))
    (missing,) = chosen.examine()
    assert missing.key_path == ("tls", "clients", "meta", "staged_anchors", 0)
    assert "does not exist" in missing.message
    staged.write_bytes(client_leaf(None).pem)
    assert "not a CA" in chosen.examine()[0].message
    staged.write_bytes(files.tls.certificate.read_bytes())
    assert "the gateway's own certificate" in chosen.examine()[0].message
    staged.write_bytes(issue(common_name("Next root"), issuer=None, ca=True).pem)
    assert chosen.examine() == []
    staged.write_bytes(authority("Next root").pem)
    assert "development CA" in chosen.examine()[0].message
    assert chosen.examine(Address(host="127.0.0.1", port=8443)) == []


def test_a_revocation_list_that_cannot_be_used_is_a_problem_with_its_place(files: Files) -> None:
    root = issue(common_name("Signing root"), issuer=None, ca=True)
    files.anchor(root)
    path = files.directory / "meta.crl"
    chosen = files.with_client(revocation_lists=(path,))
    (missing,) = chosen.examine()
    assert missing.key_path == ("tls", "clients", "meta", "revocation_lists", 0)
    path.write_bytes(revocation_list(root, signing_key=p256_key()).public_bytes(serialization.Encoding.PEM))
    assert "badly signed" in chosen.examine()[0].message
    path.write_bytes(revocation_list(root).public_bytes(serialization.Encoding.PEM))
    assert chosen.examine() == []
