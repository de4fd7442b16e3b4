"""The authority that issues clients in a development PKI: one more certificate, or one less.

Its key is kept since such a PKI is good for loopback alone (`gateway check` refuses it on a public address),
and what cannot be tried there is tried for the first time where it counts.
"""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.errors import UsageError
from gateway.simulator.pki import (
    Issued,
    PkiFiles,
    chain_pem,
    client_leaf,
    meta_subject,
    revocation_list,
    write_new,
)
from gateway.tls.certificate import CertificateFileError, read_certificates

REVOKED_NAME: Final = "revoked.pem"
LIST_VALIDITY: Final = timedelta(days=30)
"""Long enough not to expire while something is tried; revoking again renews it."""
_MAKE_ONE: Final = "name a directory that gateway certs make, or gateway init, has written"


def issue_client(directory: Path, name: str, *, common_name: str, days: int) -> tuple[Path, Path]:
    """Write `NAME.pem` (leaf and intermediate) and `NAME.key` into a development PKI; return their paths.

    Raises:
        UsageError: there is no such PKI, or one of the files exists.
    """
    issuer = _issuing(directory)
    end = datetime.now(UTC) + timedelta(days=days)
    leaf = client_leaf(issuer, subject=meta_subject(common_name), not_after=end)
    certificate, key = directory / f"{name}.pem", directory / f"{name}.key"
    write_new({certificate: (chain_pem(leaf, issuer), 0o644), key: (leaf.key_pem, 0o600)})
    return certificate, key


def revoke_client(directory: Path, certificate: Path) -> tuple[Path, int]:
    """Add the first certificate of a file to the revocation list of a development PKI.

    Returns where the list is, and how many it revokes. It is replaced in one step: a gateway that watches it
    reads the old one or the new one.

    Raises:
        UsageError: there is no such PKI, or the certificate is not of it.
    """
    issuer = _issuing(directory)
    try:
        leaf, *_ = read_certificates(certificate)
    except CertificateFileError as error:
        raise UsageError(error.message, remedy=error.remedy) from error
    try:
        leaf.verify_directly_issued_by(issuer.certificate)
    except (ValueError, TypeError, InvalidSignature) as error:
        raise UsageError(
            f"{certificate} was not issued by the authority in {directory}",
            remedy="name a client certificate that gateway certs make or issue has written there",
        ) from error
    path = directory / REVOKED_NAME
    serials = {leaf.serial_number, *_serials(path, issuer)}
    end = datetime.now(UTC) + LIST_VALIDITY
    made = revocation_list(issuer, serials=sorted(serials), next_update=end)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    temporary.replace(path)
    return path, len(serials)


def _issuing(directory: Path) -> Issued:
    files = PkiFiles.in_directory(directory)
    try:
        key = serialization.load_pem_private_key(files.issuing_key.read_bytes(), password=None)
        certificate = x509.load_pem_x509_certificate(files.issuing_ca.read_bytes())
    except OSError as error:
        raise UsageError(f"{error.filename}: {error.strerror}", remedy=_MAKE_ONE) from error
    except (ValueError, TypeError) as error:
        raise UsageError(f"{files.issuing_key.parent}: not an authority", remedy=_MAKE_ONE) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise UsageError(f"{files.issuing_key}: not a key that this command makes", remedy=_MAKE_ONE)
    return Issued(certificate=certificate, key=key)


def _serials(path: Path, issuer: Issued) -> set[int]:
    """Return what the list revokes already; nothing where there is none."""
    if not path.exists():
        return set()
    try:
        standing = x509.load_pem_x509_crl(path.read_bytes())
    except ValueError as error:
        raise UsageError(f"{path} is no revocation list", remedy="move it away") from error
    if not standing.is_signature_valid(issuer.certificate.public_key()):  # type: ignore[arg-type]  # see _issuing
        raise UsageError(f"{path} is the list of another authority", remedy="move it away")
    return {one.serial_number for one in standing}
