"""Certificates to play with: a development PKI shaped like Meta's, and blocks to build any broken one from.

Meta's shape (Meta, "Webhooks, mTLS"): ECDSA P-256 throughout, root -> intermediate -> leaf, a root that is
valid beyond 2049 (so its notAfter is a GeneralizedTime, RFC 5280 section 4.1.2.5), a common name that is not
the last attribute of the subject. Every authority made here says `O=meta-webhook-gateway development`, so
that `gateway check` can refuse it on a public address.
"""

import ipaddress
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from gateway.errors import UsageError
from gateway.tls.certificate import DEVELOPMENT_ORGANIZATION

META_CLIENT_NAME: Final = "client.webhooks.fbclientcerts.com"
"""The common name of Meta's client certificate; the CA move of 2026 did not change it."""

SERVER_NAMES: Final = ("localhost", "127.0.0.1", "::1")
"""What a development server certificate is good for."""

CLIENT_AUTH: Final = ExtendedKeyUsageOID.CLIENT_AUTH
SERVER_AUTH: Final = ExtendedKeyUsageOID.SERVER_AUTH

LEAF_VALIDITY: Final = timedelta(days=397)
"""Public authorities issue for no longer; long enough that a development setup does not expire in use."""

CLOCK_SKEW: Final = timedelta(hours=1)
"""Certificates begin this much in the past: the other end's clock may be behind."""

META_ROOT_END: Final = datetime(2055, 12, 31, 23, 59, 59, tzinfo=UTC)

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


def p256_key() -> ec.EllipticCurvePrivateKey:
    """Make an ECDSA key on P-256, as Meta uses."""
    return ec.generate_private_key(ec.SECP256R1())


def subject_name(*attributes: tuple[ObjectIdentifier, str]) -> x509.Name:
    """Make a distinguished name, one attribute an RDN, in the order given."""
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in attributes])


def common_name(name: str) -> x509.Name:
    """Make a subject that has a common name and nothing else."""
    return subject_name((NameOID.COMMON_NAME, name))


def meta_subject(name: str = META_CLIENT_NAME) -> x509.Name:
    """Make a subject shaped like Meta's: the common name is not last."""
    return subject_name(
        (NameOID.COUNTRY_NAME, "US"),
        (NameOID.STATE_OR_PROVINCE_NAME, "California"),
        (NameOID.COMMON_NAME, name),
        (NameOID.ORGANIZATION_NAME, DEVELOPMENT_ORGANIZATION),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, "Webhooks"),
    )


def authority_subject(name: str) -> x509.Name:
    """Make the subject of a development authority."""
    return subject_name(
        (NameOID.COUNTRY_NAME, "US"),
        (NameOID.COMMON_NAME, name),
        (NameOID.ORGANIZATION_NAME, DEVELOPMENT_ORGANIZATION),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A certificate with its private key."""

    certificate: x509.Certificate
    key: PrivateKey

    @property
    def pem(self) -> bytes:
        """The certificate alone."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """The key: PKCS #8, not encrypted."""
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


def chain_pem(*issued: Issued) -> bytes:
    """Put certificates one after another, in the order given (a TLS chain: leaf first)."""
    return b"".join(one.pem for one in issued)


def issue(
    subject: x509.Name,
    *,
    issuer: Issued | None,
    ca: bool | None = False,
    path_length: int | None = None,
    extended_key_usage: Sequence[ObjectIdentifier] = (),
    names: Sequence[str] = (),
    not_before: datetime | None = None,
    not_after: datetime | None = None,
    key: PrivateKey | None = None,
    signing_key: PrivateKey | None = None,
    key_cert_sign: bool | None = None,
    extra: Sequence[x509.ExtensionType] = (),
    critical: Sequence[x509.ExtensionType] = (),
) -> Issued:
    """Issue any certificate, a broken one too.

    Args:
        subject: The distinguished name; may be empty.
        issuer: None signs it with its own key.
        ca: The basic constraints; None leaves the extension out.
        path_length: For `ca` alone: how many authorities may stand below.
        extended_key_usage: Empty leaves the extension out.
        names: Subject alternative names: DNS names and IP addresses; empty leaves the extension out.
        not_before: An hour ago, where not given.
        not_after: `LEAF_VALIDITY` from now, where not given.
        key: A new P-256 key, where not given.
        signing_key: Sign with this key instead of the issuer's: a forged signature.
        key_cert_sign: The key usage bit of an authority; follows `ca` where not given.
        extra: More extensions, not critical.
        critical: More extensions, critical.
    """
    now = datetime.now(UTC)
    own_key = key or p256_key()
    signer = signing_key or (issuer.key if issuer else own_key)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(own_key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before or now - CLOCK_SKEW)
        .not_valid_after(not_after or now + LEAF_VALIDITY)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(own_key.public_key()), critical=False)
    )
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=path_length), critical=True)
    signs = bool(ca) if key_cert_sign is None else key_cert_sign
    builder = builder.add_extension(_key_usage(signs_certificates=signs), critical=True)
    if issuer is not None:
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
        builder = builder.add_extension(identifier, critical=False)
    if extended_key_usage:
        builder = builder.add_extension(x509.ExtendedKeyUsage(extended_key_usage), critical=False)
    if names:
        alternatives = x509.SubjectAlternativeName([_general_name(name) for name in names])
        # RFC 5280 section 4.2.1.6: critical where the subject is empty.
        builder = builder.add_extension(alternatives, critical=not list(subject))
    for extension in (*extra, *critical):
        builder = builder.add_extension(extension, critical=extension in critical)
    if isinstance(signer, ed25519.Ed25519PrivateKey):
        return Issued(certificate=builder.sign(signer, None), key=own_key)
    return Issued(certificate=builder.sign(signer, hashes.SHA256()), key=own_key)


def authority(
    name: str,
    *,
    issuer: Issued | None = None,
    path_length: int | None = None,
    not_before: datetime | None = None,
    not_after: datetime | None = META_ROOT_END,
    extended_key_usage: Sequence[ObjectIdentifier] = (),
    key: PrivateKey | None = None,
) -> Issued:
    """Make a certificate authority: a root, or an intermediate where an issuer is given."""
    return issue(
        authority_subject(name),
        issuer=issuer,
        ca=True,
        path_length=path_length,
        not_before=not_before,
        not_after=not_after,
        extended_key_usage=extended_key_usage,
        key=key,
    )


def client_leaf(
    issuer: Issued | None,
    *,
    subject: x509.Name | None = None,
    names: Sequence[str] = (),
    extended_key_usage: Sequence[ObjectIdentifier] = (CLIENT_AUTH,),
    not_before: datetime | None = None,
    not_after: datetime | None = None,
    key: PrivateKey | None = None,
    signing_key: PrivateKey | None = None,
) -> Issued:
    """Make a client certificate; as Meta's, where nothing else is asked for. No issuer: self-signed."""
    return issue(
        meta_subject() if subject is None else subject,
        issuer=issuer,
        names=names,
        extended_key_usage=extended_key_usage,
        not_before=not_before,
        not_after=not_after,
        key=key,
        signing_key=signing_key,
    )


def revocation_list(
    issuer: Issued,
    *revoked: Issued,
    serials: Iterable[int] = (),
    this_update: datetime | None = None,
    next_update: datetime | None = None,
    signing_key: PrivateKey | None = None,
    identified: bool = True,
    extra: Sequence[x509.ExtensionType] = (),
    critical: Sequence[x509.ExtensionType] = (),
) -> x509.CertificateRevocationList:
    """Make a revocation list (CRL).

    Args:
        issuer: Whose list it is.
        revoked: The certificates that it revokes.
        serials: More of them, by number.
        this_update: An hour ago, where not given.
        next_update: A week after that, where not given.
        signing_key: Sign with this key instead of the issuer's.
        identified: Bear the identifier of the issuer's key.
        extra: More extensions, not critical.
        critical: More extensions, critical.
    """
    begin = this_update or datetime.now(UTC) - CLOCK_SKEW
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(begin)
        .next_update(next_update or begin + timedelta(days=7))
    )
    for serial in (*(one.certificate.serial_number for one in revoked), *serials):
        builder = builder.add_revoked_certificate(
            x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(begin).build()
        )
    if identified:
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
        builder = builder.add_extension(identifier, critical=False)
    for extension in (*extra, *critical):
        builder = builder.add_extension(extension, critical=extension in critical)
    return builder.sign(signing_key or issuer.key, hashes.SHA256())


def server_leaf(issuer: Issued | None, *, names: Sequence[str] = SERVER_NAMES) -> Issued:
    """Make a server certificate for these names and addresses. No issuer: self-signed."""
    subject = subject_name(
        (NameOID.COMMON_NAME, names[0]), (NameOID.ORGANIZATION_NAME, DEVELOPMENT_ORGANIZATION)
    )
    return issue(subject, issuer=issuer, names=names, extended_key_usage=(SERVER_AUTH,))


@dataclass(frozen=True, slots=True, kw_only=True)
class DevelopmentPki:
    """All that one gateway and one stand-in for Meta need."""

    server_root: Issued
    server: Issued
    meta_root: Issued
    meta_intermediate: Issued
    meta_client: Issued

    @property
    def server_chain_pem(self) -> bytes:
        """What the gateway presents; no root, as clients have it already."""
        return chain_pem(self.server)

    @property
    def client_chain_pem(self) -> bytes:
        """What Meta's stand-in presents: leaf and intermediate."""
        return chain_pem(self.meta_client, self.meta_intermediate)


def development_pki(names: Sequence[str] = SERVER_NAMES) -> DevelopmentPki:
    """Make a whole PKI in memory."""
    server_root = authority("Gateway development server CA", path_length=0)
    meta_root = authority("Meta-like outbound root CA")
    meta_intermediate = authority("Meta-like outbound issuing CA", issuer=meta_root, path_length=0)
    return DevelopmentPki(
        server_root=server_root,
        server=server_leaf(server_root, names=names),
        meta_root=meta_root,
        meta_intermediate=meta_intermediate,
        meta_client=client_leaf(meta_intermediate),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PkiFiles:
    """Where `make_pki` has put things."""

    server_ca: Path
    """What a client trusts to reach the gateway."""
    server_certificate: Path
    server_key: Path
    meta_ca: Path
    """The gateway's trust anchor for Meta's stand-in."""
    client_certificate: Path
    client_key: Path
    issuing_ca: Path
    """Of the client's issuer, the certificate; it stands apart, so that no directory of anchors has it."""
    issuing_key: Path

    @property
    def all(self) -> tuple[Path, ...]:
        """Every file."""
        return tuple(getattr(self, one.name) for one in fields(self))

    @classmethod
    def in_directory(cls, directory: Path) -> "PkiFiles":
        """Name the files without touching them."""
        return cls(
            server_ca=directory / "ca.pem",
            server_certificate=directory / "server.pem",
            server_key=directory / "server.key",
            meta_ca=directory / "meta-ca.pem",
            client_certificate=directory / "client.pem",
            client_key=directory / "client.key",
            issuing_ca=directory / "authority" / "issuing.pem",
            issuing_key=directory / "authority" / "issuing.key",
        )


def make_pki(directory: Path, *, names: Sequence[str] = SERVER_NAMES) -> PkiFiles:
    """Write a development PKI: `ca.pem server.pem server.key meta-ca.pem client.pem client.key`, and in
    `authority/` the certificate and key that issue clients (see `authorities`).

    Makes the directory (0700) where it is missing; keys are 0600. The roots' keys are not kept.

    Raises:
        UsageError: one of the files exists; nothing was written.
    """
    files = PkiFiles.in_directory(directory)
    pki = development_pki(names)
    contents = {
        files.server_ca: (pki.server_root.pem, 0o644),
        files.server_certificate: (pki.server_chain_pem, 0o644),
        files.server_key: (pki.server.key_pem, 0o600),
        files.meta_ca: (pki.meta_root.pem, 0o644),
        files.client_certificate: (pki.client_chain_pem, 0o644),
        files.client_key: (pki.meta_client.key_pem, 0o600),
        files.issuing_ca: (pki.meta_intermediate.pem, 0o644),
        files.issuing_key: (pki.meta_intermediate.key_pem, 0o600),
    }
    write_new(contents)
    return files


def write_new(contents: Mapping[Path, tuple[bytes, int]]) -> None:
    """Write files (path -> content and mode), and their directories where they are missing (0700).

    Raises:
        UsageError: one of them exists; nothing was written.
    """
    for path in contents:
        if path.exists() or path.is_symlink():
            raise UsageError(
                f"{path} exists", remedy="nothing was written; give another name, or move it away"
            )
    for path, (data, mode) in contents.items():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # O_EXCL: what appeared since the check above is not overwritten either.
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(data)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
