"""Certificate and key files: reading them, and saying what they hold."""

import os
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gateway.errors import GatewayError
from gateway.settings.files import read_within
from gateway.settings.missing_files import ABSENT

DEVELOPMENT_ORGANIZATION: Final = "meta-webhook-gateway development"
"""The organization in every certificate of a development PKI, so that `check` knows one when it sees it."""

ANCHOR_SUFFIXES: Final = (".pem", ".crt", ".cer")
"""What is read of a directory of trust anchors."""

MAX_FILE_BYTES: Final = 4 * 1024**2
"""A bundle of all public roots has a quarter of a megabyte; what is bigger is not a certificate file."""

PUBLIC_POLICIES: Final = "2.23.140.1."
"""Policies of the CA/Browser Forum, of which a public CA names one in each certificate, and no other CA does
(Baseline Requirements, section 7.1.6.1)."""

UNREADABLE: Final = (
    ValueError,
    TypeError,  # a name with a kind of string that its attribute does not have
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    UnsupportedAlgorithm,
)
"""What cryptography raises of what is not encoded as RFC 5280 demands, at once or when a field is read."""

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


class CertificateFileError(GatewayError):
    """The operator's fault: a certificate or key file cannot be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What one certificate says, for people."""

    subject: str
    """RFC 4514."""
    issuer: str
    serial: str
    """Hexadecimal, lower case."""
    sha256: str
    """Hexadecimal, lower case, of the DER."""
    names: tuple[str, ...]
    """DNS names and IP addresses of the subject alternative names."""
    key: str
    """`ECDSA P-256`, `RSA 2048`."""
    not_before: datetime
    not_after: datetime
    is_ca: bool
    self_issued: bool
    """Subject and issuer are the same: a root, or a self-signed leaf."""
    purposes: tuple[str, ...]
    """Extended key usages, by OpenSSL's names where known; empty: no restriction."""
    development: bool
    """It belongs to a development PKI."""

    @property
    def sha256_colons(self) -> str:
        """The fingerprint as OpenSSL and browsers print it: `AB:CD:...`."""
        digits = self.sha256.upper()
        return ":".join(digits[at : at + 2] for at in range(0, len(digits), 2))

    def days_left(self, now: datetime) -> int:
        """Whole days until it expires; negative once it has."""
        return (self.not_after - now).days


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """One trust anchor, with the file it stands in."""

    path: Path
    certificate: x509.Certificate

    @property
    def sha256(self) -> str:
        """Hexadecimal, lower case."""
        return self.certificate.fingerprint(hashes.SHA256()).hex()


def _bearing_old_ones(function: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
    """Silence cryptography's warnings of what later versions will refuse: old roots have a negative serial
    number, OpenSSL takes them, and the operator cannot change them."""

    @wraps(function)
    def call(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> _Result:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CryptographyDeprecationWarning)
            return function(*args, **kwargs)

    return call


@_bearing_old_ones
def describe(certificate: x509.Certificate) -> Description:
    """Say what a certificate says.

    Raises:
        CertificateFileError: it is not encoded as RFC 5280 demands.
    """
    try:
        return Description(
            subject=certificate.subject.rfc4514_string(),
            issuer=certificate.issuer.rfc4514_string(),
            serial=f"{certificate.serial_number:x}",
            sha256=certificate.fingerprint(hashes.SHA256()).hex(),
            names=_alternative_names(certificate),
            key=describe_key(certificate.public_key()),
            not_before=certificate.not_valid_before_utc,
            not_after=certificate.not_valid_after_utc,
            is_ca=is_ca(certificate),
            self_issued=certificate.subject == certificate.issuer,
            purposes=_purposes(certificate),
            development=is_development(certificate),
        )
    except UNREADABLE as fault:
        raise CertificateFileError(
            f"a certificate cannot be read ({fault})", remedy="ask whoever issued it for a valid one"
        ) from fault


def describe_key(key: PublicKeyTypes) -> str:
    """Name kind and size of a key."""
    match key:
        case ec.EllipticCurvePublicKey():
            return f"ECDSA {_CURVES.get(key.curve.name, key.curve.name)}"
        case rsa.RSAPublicKey():
            return f"RSA {key.key_size}"
        case ed25519.Ed25519PublicKey():
            return "Ed25519"
        case ed448.Ed448PublicKey():
            return "Ed448"
        case dsa.DSAPublicKey():
            return f"DSA {key.key_size}"
        case _:
            return type(key).__name__.removesuffix("PublicKey")


@_bearing_old_ones
def is_ca(certificate: x509.Certificate) -> bool:
    """Say whether a certificate may issue others (RFC 5280 section 4.2.1.9; version 1 roots as OpenSSL takes
    them)."""
    constraints = _extension(certificate, x509.BasicConstraints)
    usage = _extension(certificate, x509.KeyUsage)
    if constraints is None:
        return certificate.version is x509.Version.v1 and certificate.subject == certificate.issuer
    return constraints.ca and (usage is None or usage.key_cert_sign)


def is_development(certificate: x509.Certificate) -> bool:
    """Say whether a certificate, or its issuer, belongs to a development PKI."""
    return any(
        attribute.value == DEVELOPMENT_ORGANIZATION
        for name in (certificate.subject, certificate.issuer)
        for attribute in name.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    )


def is_publicly_issued(certificate: x509.Certificate) -> bool:
    """Say whether a certificate bears a policy that public CAs alone name."""
    policies = _extension(certificate, x509.CertificatePolicies)
    return any(one.policy_identifier.dotted_string.startswith(PUBLIC_POLICIES) for one in policies or ())


@_bearing_old_ones
def read_certificates(path: Path) -> tuple[x509.Certificate, ...]:
    """Read a PEM file of one certificate or more, in the order of the file.

    Raises:
        CertificateFileError: it cannot be read, is not PEM, or holds no certificate.
    """
    data = read_file(path)
    if b"-----BEGIN" not in data:
        raise CertificateFileError(
            f"{path} is not PEM (no BEGIN line)",
            remedy=f"if it is DER: openssl x509 -inform der -in {path} -out {path.with_suffix('.pem')}"
            if data[:1] == b"\x30"
            else "name a file with a BEGIN CERTIFICATE line",
        )
    if b"-----BEGIN CERTIFICATE-----" not in data:
        what = "a private key" if b"PRIVATE KEY-----" in data else "no certificate"
        raise CertificateFileError(
            f"{path} holds {what}, not a certificate", remedy="name the file with a BEGIN CERTIFICATE line"
        )
    try:
        certificates = tuple(x509.load_pem_x509_certificates(data))
    except UNREADABLE as fault:
        raise CertificateFileError(
            f"{path} is damaged: a certificate in it cannot be decoded",
            remedy="get the file again from its source",
        ) from fault
    for certificate in certificates:
        describe(certificate)  # decoding is lazy: whatever cannot be read shows itself here, once
    return certificates


def read_private_key(path: Path) -> PrivateKeyTypes:
    """Read a PEM private key that is not encrypted.

    Raises:
        CertificateFileError: it cannot be read, is encrypted, or is no private key.
    """
    data = read_file(path)
    if b"PRIVATE KEY-----" not in data:
        what = "a certificate" if b"BEGIN CERTIFICATE" in data else "no private key in PEM"
        raise CertificateFileError(
            f"{path} holds {what}", remedy="name the file with a BEGIN PRIVATE KEY line"
        )
    try:
        return serialization.load_pem_private_key(data, password=None)
    except TypeError as fault:
        raise CertificateFileError(
            f"{path} is encrypted with a passphrase",
            remedy=f"store it decrypted, readable by the gateway alone: openssl pkey -in {path} -out NEW",
        ) from fault
    except (ValueError, UnsupportedAlgorithm) as fault:
        raise CertificateFileError(
            f"{path} cannot be decoded as a private key", remedy="get the file again from its source"
        ) from fault


def holds_private_key(path: Path) -> bool:
    """Say whether a file holds a private key in PEM, encrypted or not; False where it cannot be read."""
    try:
        return b"PRIVATE KEY-----" in read_file(path)
    except CertificateFileError:
        return False


def files_in(directory: Path, suffixes: Collection[str]) -> list[Path]:
    """Return the files of a directory that bear one of these suffixes, sorted.

    Raises:
        CertificateFileError: it cannot be read.
    """
    try:
        return sorted(one for one in directory.iterdir() if one.suffix in suffixes and one.is_file())
    except OSError as fault:
        raise CertificateFileError(
            f"{directory} cannot be read ({fault.strerror})", remedy="let the gateway's user read it"
        ) from fault


def anchor_files(paths: Sequence[Path]) -> Iterator[Path]:
    """Return the files themselves, and in place of a directory the anchor files in it, sorted.

    Raises:
        CertificateFileError: a directory cannot be read.
    """
    for path in paths:
        if is_directory(path):
            yield from files_in(path, ANCHOR_SUFFIXES)
        else:
            yield path


def is_directory(path: Path) -> bool:
    """Say whether a path leads to a directory; False where it cannot be seen, which whoever opens it tells.

    `Path.is_dir` raises where a directory above may not be looked into.
    """
    return os.path.isdir(path)  # noqa: PTH112


def read_anchors(paths: Sequence[Path]) -> tuple[Anchor, ...]:
    """Read all trust anchors of one client entry.

    Raises:
        CertificateFileError: a file cannot be used, holds something that is no CA, or there is no anchor at
        all.
    """
    anchors = []
    for path in anchor_files(paths):
        for certificate in read_certificates(path):
            if not is_ca(certificate):
                subject = certificate.subject.rfc4514_string()
                raise CertificateFileError(
                    f"{path} holds a certificate that is not a CA ({subject})",
                    remedy="name the CA that issues the clients' certificates, not one that it has issued",
                )
            anchors.append(Anchor(path=path, certificate=certificate))
    if not anchors:
        raise CertificateFileError(
            f"no trust anchor in {', '.join(str(path) for path in paths) or 'an empty list'}",
            remedy=f"put the CA file there (PEM; in a directory: {', '.join(ANCHOR_SUFFIXES)})",
        )
    return tuple(anchors)


def read_file(path: Path, *, max_bytes: int = MAX_FILE_BYTES, what: str = "certificate") -> bytes:
    """Read a file whole, not empty; `what` it should hold.

    Raises:
        CertificateFileError: it cannot be read, is empty or too big.
    """
    try:
        data, _ = read_within(path, max_bytes=max_bytes + 1)
    except FileNotFoundError as fault:
        raise CertificateFileError(f"{path} does not exist", remedy=ABSENT) from fault
    except OSError as fault:
        raise CertificateFileError(
            f"{path} cannot be read ({fault.strerror})", remedy="let the gateway's user read it"
        ) from fault
    if not data.strip():
        raise CertificateFileError(f"{path} is empty", remedy="get the file again from its source")
    if len(data) > max_bytes:
        raise CertificateFileError(f"{path} is too big for a {what} file", remedy="correct the path")
    return data


def utc_now() -> datetime:
    """Return the time that expiry is measured against."""
    return datetime.now(UTC)


_Extension = TypeVar("_Extension", bound=x509.ExtensionType)

_CURVES: Final = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}

_PURPOSES: Final = {
    ExtendedKeyUsageOID.SERVER_AUTH: "serverAuth",
    ExtendedKeyUsageOID.CLIENT_AUTH: "clientAuth",
    ExtendedKeyUsageOID.CODE_SIGNING: "codeSigning",
    ExtendedKeyUsageOID.EMAIL_PROTECTION: "emailProtection",
    ExtendedKeyUsageOID.TIME_STAMPING: "timeStamping",
    ExtendedKeyUsageOID.OCSP_SIGNING: "OCSPSigning",
    ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE: "anyExtendedKeyUsage",
}


def _extension(certificate: x509.Certificate, kind: type[_Extension]) -> _Extension | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _alternative_names(certificate: x509.Certificate) -> tuple[str, ...]:
    alternatives = _extension(certificate, x509.SubjectAlternativeName)
    if alternatives is None:
        return ()
    addresses = (str(address) for address in alternatives.get_values_for_type(x509.IPAddress))
    return (*alternatives.get_values_for_type(x509.DNSName), *addresses)


def _purposes(certificate: x509.Certificate) -> tuple[str, ...]:
    usage = _extension(certificate, x509.ExtendedKeyUsage)
    return () if usage is None else tuple(_PURPOSES.get(oid, oid.dotted_string) for oid in usage)
