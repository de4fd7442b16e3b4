"""Reading revocation lists: complete lists, PEM or DER, signed by the CA that they speak for.

A list is used as a whole or not at all. Delta lists and indirect lists are refused: a delta says only what
has changed since another one, and an indirect list speaks for other issuers than the one that signed it.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from cryptography import x509

from gateway.tls.certificate import UNREADABLE, CertificateFileError, files_in, is_directory, read_file
from gateway.tls.revocation import RevocationList, is_for, is_signed

LIST_SUFFIXES: Final = (".pem", ".crl", ".der")
"""What is read of a directory of revocation lists."""

MAX_LIST_BYTES: Final = 64 * 1024**2
"""Some two million revoked certificates, more than the largest public CA has in one list."""

_PEM_LIST: Final = re.compile(rb"-----BEGIN X509 CRL-----.*?-----END X509 CRL-----", re.DOTALL)
_UNDERSTOOD: Final = frozenset({x509.IssuingDistributionPoint.oid, x509.AuthorityKeyIdentifier.oid})
"""Extensions that may be critical: the first is read below, the second tells keys of one name apart."""
_ASK: Final = "get the complete list from the CA's distribution point"
_AGAIN: Final = "get the file again from its source"


def revocation_files(paths: Sequence[Path]) -> Iterator[Path]:
    """Return the files themselves, and in place of a directory the lists in it, sorted.

    Raises:
        CertificateFileError: a directory holds none, or cannot be read.
    """
    for path in paths:
        if not is_directory(path):
            yield path
            continue
        found = files_in(path, LIST_SUFFIXES)
        if not found:
            raise CertificateFileError(
                f"no revocation list in {path}",
                remedy=f"put the CA's list there ({', '.join(LIST_SUFFIXES)}), or remove the directory here",
            )
        yield from found


def read_revocation_lists(
    paths: Sequence[Path], *, issuers: Sequence[x509.Certificate]
) -> tuple[RevocationList, ...]:
    """Read all revocation lists of one client entry; of several by one key and for one scope, the newest.

    Args:
        paths: Files and directories.
        issuers: The CAs that the configuration knows: a list of one of them must bear its signature.

    Raises:
        CertificateFileError: a list cannot be read, is badly signed, or of a kind that is not understood.
    """
    newest: dict[tuple[object, ...], RevocationList] = {}
    for path in revocation_files(paths):
        for crl in _decode(path, read_file(path, max_bytes=MAX_LIST_BYTES, what="revocation list")):
            try:
                one = _read_list(path, crl, issuers)
                signer = next((issuer for issuer, signed in one.signers.items() if signed), None)
                key = (one.issuer, one.issuer_key, signer, _scope(crl))
            except UNREADABLE as fault:
                raise CertificateFileError(f"{path} cannot be read ({fault})", remedy=_AGAIN) from fault
            if key not in newest or newest[key].this_update < one.this_update:
                newest[key] = one
    return tuple(newest.values())


def _decode(path: Path, data: bytes) -> Iterable[x509.CertificateRevocationList]:
    blocks = _PEM_LIST.findall(data)
    if not blocks and b"-----BEGIN" in data:
        what = "a certificate" if b"BEGIN CERTIFICATE" in data else "something else"
        raise CertificateFileError(
            f"{path} holds {what}, not a revocation list", remedy="name a file with a BEGIN X509 CRL line"
        )
    try:
        if blocks:
            return [x509.load_pem_x509_crl(block) for block in blocks]
        return [x509.load_der_x509_crl(data)]
    except UNREADABLE as fault:
        raise CertificateFileError(
            f"{path} is no revocation list, or a damaged one (PEM and DER are read)", remedy=_AGAIN
        ) from fault


def _read_list(
    path: Path, crl: x509.CertificateRevocationList, issuers: Sequence[x509.Certificate]
) -> RevocationList:
    _refuse_what_is_not_understood(path, crl)
    issuer_key = _authority_key(crl)
    candidates = [one for one in issuers if is_for(crl.issuer, issuer_key, one)]
    signers = {issuer: is_signed(crl, issuer) for issuer in candidates}
    if candidates and not any(signers.values()):
        raise CertificateFileError(
            f"{path} is badly signed: {crl.issuer.rfc4514_string()} has not signed it, or may not sign lists",
            remedy=_AGAIN,
        )
    return RevocationList(
        path=path,
        issuer=crl.issuer,
        issuer_key=issuer_key,
        this_update=crl.last_update_utc,
        next_update=crl.next_update_utc,
        serials=frozenset(_serials(path, crl)),
        crl=crl,
        known_issuer=bool(candidates),
        signers=signers,
    )


def _refuse_what_is_not_understood(path: Path, crl: x509.CertificateRevocationList) -> None:
    for extension in crl.extensions:
        match extension.value:
            case x509.DeltaCRLIndicator():
                raise CertificateFileError(f"{path} is a delta list, which is not supported", remedy=_ASK)
            case x509.IssuingDistributionPoint(indirect_crl=True):
                raise CertificateFileError(f"{path} is an indirect list, which is not supported", remedy=_ASK)
            case _ if extension.critical and extension.oid not in _UNDERSTOOD:
                raise CertificateFileError(
                    f"{path} has a critical extension that is not understood ({extension.oid.dotted_string})",
                    remedy=_ASK,
                )


def _serials(path: Path, crl: x509.CertificateRevocationList) -> Iterator[int]:
    """Return every serial; a list for one purpose or some reasons is looked up like any other: a serial that
    stands in it is revoked."""
    for revoked in crl:
        # RFC 5280 section 5.3: with an entry that is not understood, nothing of the list may be used.
        if any(extension.critical for extension in revoked.extensions):
            raise CertificateFileError(
                f"{path} has an entry with a critical extension, as indirect lists have", remedy=_ASK
            )
        yield revoked.serial_number


def _authority_key(crl: x509.CertificateRevocationList) -> bytes | None:
    try:
        return crl.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    except x509.ExtensionNotFound:
        return None


def _scope(crl: x509.CertificateRevocationList) -> bytes:
    """What part of an issuer's certificates a list is for: lists of different parts stand side by side."""
    try:
        return crl.extensions.get_extension_for_class(x509.IssuingDistributionPoint).value.public_bytes()
    except x509.ExtensionNotFound:
        return b""
