"""Revocation lists: any file is read or refused with a remedy, and a damaged list of a known CA is refused.

What is read bears the signature of the CA that it names, and counts the serials that it holds.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from conformance.breeds import key_of
from conformance.specimen import Ground
from conformance.surgery import BIT_STRING, ECDSA_WITH_SHA256, SEQUENCE, wrap
from gateway.errors import GatewayError
from gateway.simulator.pki import client_leaf, revocation_list
from gateway.tls.revocation_files import read_revocation_lists

GROUND: Final = Ground()
_MEMORY: Final = Path("/dev/shm")  # noqa: S108 # a directory of our own in it
_DIRECTORY: Final = tempfile.TemporaryDirectory(
    prefix="gateway-fuzz-", dir=_MEMORY if _MEMORY.is_dir() else None
)
_FILE: Final = Path(_DIRECTORY.name) / "list.crl"
_ISSUER: Final = GROUND.pki.meta_intermediate


class DefectError(AssertionError):
    """A list is believed that its CA has not signed so."""


def one(data: bytes) -> None:
    """Read it as the list of a client entry.

    The first byte: odd, and the rest is what is signed, in sound wrapping; even, and it is the whole file.
    """
    _FILE.write_bytes(_signed(data[1:]) if data[:1] and data[0] % 2 else data[1:])
    try:
        lists = read_revocation_lists([_FILE], issuers=[_ISSUER.certificate])
    except GatewayError as error:
        if not error.remedy or "\n" in str(error):
            raise DefectError(str(error)) from error
        return
    for one_ in lists:
        if one_.known_issuer and not one_.crl.is_signature_valid(_ISSUER.certificate.public_key()):  # type: ignore[arg-type] # it is one of those keys
            raise DefectError("its signature is not the CA's")
        if one_.serials != {revoked.serial_number for revoked in one_.crl}:
            raise DefectError("it holds other serials")


def _signed(tbs: bytes) -> bytes:
    signature = key_of(_ISSUER).sign(tbs, ec.ECDSA(hashes.SHA256()))
    algorithm = wrap(SEQUENCE, ECDSA_WITH_SHA256)
    return wrap(SEQUENCE, tbs + algorithm + wrap(BIT_STRING, b"\0" + signature))


def seeds() -> Iterator[bytes]:
    """A list of a known CA and one of another, as DER, as PEM, and what is signed of them."""
    reason = x509.IssuingDistributionPoint(
        full_name=None,
        relative_name=None,
        only_contains_user_certs=True,
        only_contains_ca_certs=False,
        only_some_reasons=None,
        indirect_crl=False,
        only_contains_attribute_certs=False,
    )
    for issuer in (_ISSUER, GROUND.partner):
        leaves = [client_leaf(issuer), client_leaf(issuer)]
        signed = revocation_list(issuer, *leaves, extra=[x509.CRLNumber(1)], critical=[reason])
        yield b"\0" + signed.public_bytes(serialization.Encoding.DER)
        yield b"\0" + signed.public_bytes(serialization.Encoding.PEM)
        yield b"\1" + signed.tbs_certlist_bytes
