"""What check says of certificates, keys and anchors: each mistake with its place and its remedy."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from gateway.settings.model import Client, Tls
from gateway.settings.values import Address
from gateway.simulator.pki import (
    CLIENT_AUTH,
    META_CLIENT_NAME,
    SERVER_AUTH,
    DevelopmentPki,
    Issued,
    PrivateKey,
    authority,
    chain_pem,
    common_name,
    issue,
    make_pki,
    p256_key,
    subject_name,
)
from gateway.tls.certificate import CertificateFileError
from gateway.tls.context import make_context
from gateway.tls.material import MaterialProblem, examine_tls
from gateway.tls.remarks import remarks_tls

NOW = datetime.now(UTC)
DAY = timedelta(days=1)
LOOPBACK = Address(host="127.0.0.1", port=8443)
PUBLIC = Address(host="::", port=8443)
CERTIFICATE = ("tls", "certificate")
KEY = ("tls", "private_key")
ANCHOR = ("tls", "clients", "meta", "trust_anchors", 0)
SHORT_RSA_BITS = 1024


def production(**knobs: object) -> tuple[Issued, Issued]:
    """Return a server certificate that is not for development, and its issuer."""
    root = issue(common_name("Public root"), issuer=None, ca=True)
    options = {"names": ("hooks.example.com",), "extended_key_usage": (SERVER_AUTH,), **knobs}
    return issue(common_name("hooks.example.com"), issuer=root, **options), root  # type: ignore[arg-type] # knobs


@dataclass(kw_only=True)
class Files:
    """All files of a sound configuration in production, to be broken one by one."""

    directory: Path
    tls: Tls

    @classmethod
    def write(cls, directory: Path) -> "Files":
        server, root = production()
        meta = issue(common_name("Meta root"), issuer=None, ca=True)
        files = cls(
            directory=directory,
            tls=Tls(
                certificate=directory / "server.pem",
                private_key=directory / "server.key",
                clients={"meta": Client(trust_anchors=(directory / "meta.pem",), names=(META_CLIENT_NAME,))},
            ),
        )
        files.serve(server, root)
        files.anchor(meta)
        return files

    def serve(self, *chain: Issued, key: PrivateKey | None = None) -> None:
        self.tls.certificate.write_bytes(chain_pem(*chain))
        pem = chain[0].key_pem if key is None else Issued(certificate=chain[0].certificate, key=key).key_pem
        self.tls.private_key.write_bytes(pem)
        self.tls.private_key.chmod(0o600)

    def anchor(self, *issued: Issued) -> None:
        (self.directory / "meta.pem").write_bytes(chain_pem(*issued))

    def examine(self, address: Address = PUBLIC) -> list[MaterialProblem]:
        return examine_tls(self.tls, address=address)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files.write(tmp_path)


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


def development_tls(directory: Path) -> Tls:
    made = make_pki(directory / "pki")
    return Tls(
        certificate=made.server_certificate,
        private_key=made.server_key,
        clients={"meta": Client(trust_anchors=(made.meta_ca,), names=(META_CLIENT_NAME,))},
    )


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


def test_an_expired_anchor_beside_a_good_one_is_a_rotation_and_a_remark(files: Files) -> None:
    """A gateway that refused to start for it would be an outage of its own making."""
    old = issue(common_name("Old"), issuer=None, ca=True, not_before=NOW - 9 * DAY, not_after=NOW - DAY)
    new = issue(common_name("New"), issuer=None, ca=True)
    files.anchor(old, new)
    assert files.examine() == []
    (remark,) = remarks_tls(files.tls)
    assert remark.key_path == ANCHOR
    assert "has expired" in remark.message


def remark(files: Files) -> MaterialProblem:
    assert files.examine() == []
    (only,) = remarks_tls(files.tls)
    assert only.remedy
    return only


def test_a_key_that_everybody_may_read_is_remarked(files: Files) -> None:
    files.tls.private_key.chmod(0o644)
    assert "open to every user" in remark(files).message


def test_a_chain_without_intermediate_is_remarked(files: Files) -> None:
    server, _ = production()
    files.serve(server)
    assert "holds no intermediate" in remark(files).message


def test_a_chain_out_of_order_is_remarked(files: Files) -> None:
    root = issue(common_name("Root"), issuer=None, ca=True)
    between = issue(common_name("Between"), issuer=root, ca=True)
    server = issue(common_name("hooks.example.com"), issuer=between, names=("hooks.example.com",))
    files.serve(server, root, between)
    assert "do not stand in order" in remark(files).message


def test_a_certificate_near_its_end_is_remarked(files: Files) -> None:
    files.serve(*production(not_after=NOW + 5 * DAY + timedelta(hours=1)))
    assert "expires in 5 days" in remark(files).message


def test_the_servers_own_ca_as_anchor_is_remarked(files: Files) -> None:
    """It may be meant (a small company with one CA); more often the two chains were confused."""
    server, root = production()
    files.serve(server, root)
    files.anchor(root)
    assert "also the CA of the gateway's own certificate" in remark(files).message


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
