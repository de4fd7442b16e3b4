"""The CA of the gateway's own certificate among the trust anchors of clients: the two are confused more often
than they are one.

Whether it is a mistake for certain depends on who the CA is. A public one issues to anybody, and Meta's
clients have nothing from it. A development CA issues to the server alone. A private one may serve both sides
of a company's own installation: that is worth a look, and no reason to refuse a start.
"""

from collections.abc import Sequence
from enum import Enum, auto

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from gateway.settings.model import META_NAME, Client
from gateway.tls.certificate import is_development, is_publicly_issued


class Confusion(Enum):
    """How an anchor stands to the gateway's own certificate."""

    NONE = auto()
    PERHAPS = auto()
    """It issued it, and may be meant."""
    PUBLIC = auto()
    """It is a public CA, where Meta's belongs."""
    DEVELOPMENT = auto()
    """It is the server's CA of a development PKI, which has another one for clients."""


def confusion(client: Client, anchor: x509.Certificate, chain: Sequence[x509.Certificate]) -> Confusion:
    """Judge one anchor of a client entry beside the gateway's own chain (empty: unknown)."""
    if not any(one == anchor or _issued(one, by=anchor) for one in chain):
        return Confusion.NONE
    if is_development(anchor):
        return Confusion.DEVELOPMENT
    if META_NAME in client.names and is_publicly_issued(chain[0]):
        return Confusion.PUBLIC
    return Confusion.PERHAPS


def _issued(certificate: x509.Certificate, *, by: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(by)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True
