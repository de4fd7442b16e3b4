"""Client certificates: whatever OpenSSL reads, the verdict is reached, and nobody comes in by damage.

A certificate is admitted only where cryptography, on its own, finds that a trusted key has signed it, and
that its one CN is Meta's name.
"""

import base64
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import crypto

from conformance.breeds import key_of
from conformance.specimen import Ground
from conformance.surgery import (
    BIT_STRING,
    ECDSA_WITH_SHA256,
    SEQUENCE,
    certificate_pem,
    inside,
    parts,
    wrap,
)
from conformance.zoo import ZOO
from gateway.core.identity import Identity, Refusal
from gateway.simulator.pki import META_CLIENT_NAME
from gateway.tls.certificate import CertificateFileError, read_certificates
from gateway.tls.revocation import RevocationLists
from gateway.tls.revocation_files import read_revocation_lists
from gateway.tls.verdict import ChainRecord, ClientEntry, decide

GROUND: Final = Ground()
_ISSUING: Final = GROUND.pki.meta_intermediate
_MAX_DETAIL: Final = 1000
_MEMORY: Final = Path("/dev/shm")  # noqa: S108 # a directory of our own in it
_DIRECTORY: Final = tempfile.TemporaryDirectory(
    prefix="gateway-fuzz-", dir=_MEMORY if _MEMORY.is_dir() else None
)
_FILE: Final = Path(_DIRECTORY.name) / "certificate.pem"


class DefectError(AssertionError):
    """Somebody came in, or a refusal does not say why."""


def _entry() -> ClientEntry:
    store = crypto.X509Store()
    store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
    store.add_cert(crypto.X509.from_cryptography(_ISSUING.certificate))
    _FILE.write_bytes(GROUND.revocation_lists)
    lists = read_revocation_lists([_FILE], issuers=[_ISSUING.certificate])
    return ClientEntry(
        name="meta",
        names=frozenset({META_CLIENT_NAME}),
        store=store,
        anchors=frozenset(),
        revocation=RevocationLists(lists, strict=False),
    )


ENTRY: Final = _entry()


def one(data: bytes) -> None:
    """Judge it as a leaf that was presented, and read it as an operator's file.

    The first byte: odd, and the rest is what is signed, in sound wrapping; even, and it is the whole.
    """
    der = _signed(data[1:]) if data[:1] and data[0] % 2 else data[1:]
    _FILE.write_bytes(certificate_pem(der))
    with suppress(CertificateFileError):
        read_certificates(_FILE)
    try:
        leaf = crypto.load_certificate(crypto.FILETYPE_ASN1, der)
    except crypto.Error:
        return
    record = ChainRecord(seen=True)
    verdict = decide(record=record, leaf=leaf, sent=(), entries=(ENTRY,), now=datetime.now(UTC))
    if isinstance(verdict, Refusal):
        if not verdict.detail or len(verdict.detail) > _MAX_DETAIL:
            raise DefectError("a refusal says why, in a few words")
    else:
        _check(verdict, leaf)


def _signed(tbs: bytes) -> bytes:
    signature = key_of(_ISSUING).sign(tbs, ec.ECDSA(hashes.SHA256()))
    algorithm = wrap(SEQUENCE, ECDSA_WITH_SHA256)
    return wrap(SEQUENCE, tbs + algorithm + wrap(BIT_STRING, b"\0" + signature))


def _check(verdict: Identity, leaf: crypto.X509) -> None:
    certificate = leaf.to_cryptography()
    digest = certificate.signature_hash_algorithm
    if digest is None:
        raise DefectError("admitted, and signed with no key of ours")
    # Not SHA-1's weakness is asked here: that is the handshake's part, by OpenSSL's security level.
    signed = certificate.tbs_certificate_bytes
    key_of(_ISSUING).public_key().verify(certificate.signature, signed, ec.ECDSA(digest))
    names = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    alternatives: list[str] = []
    if not names:
        held = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        alternatives = held.value.get_values_for_type(x509.DNSName)
    if [name.value for name in names] != [META_CLIENT_NAME] and META_CLIENT_NAME not in alternatives:
        raise DefectError(f"admitted: {certificate.subject}")
    if verdict.name != META_CLIENT_NAME:
        raise DefectError(f"known as {verdict.name}")


def seeds() -> Iterator[bytes]:
    """The leaves of the zoo, whole, and what is signed of them."""
    for specimen in ZOO:
        for presented in specimen.present(GROUND)[:1]:
            der = base64.b64decode(b"".join(presented.pem.splitlines()[1:-1]))
            yield b"\0" + der
            yield b"\1" + parts(inside(der))[0]
