"""Who is at the other end: the identity proved by a client certificate, or why there is none."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Reason(StrEnum):
    """Why a certificate or a connection was refused: one word each, the same everywhere (contract, 3)."""

    NO_CERTIFICATE = "no_certificate"
    UNKNOWN_ISSUER = "unknown_issuer"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    WRONG_PURPOSE = "wrong_purpose"
    WRONG_NAME = "wrong_name"
    REVOKED = "revoked"
    BAD_CHAIN = "bad_chain"
    PROTOCOL = "protocol"
    TIMEOUT = "timeout"
    LIMIT = "limit"


@dataclass(frozen=True, slots=True, kw_only=True)
class LeafSummary:
    """What a presented leaf says of itself: for logs and the ledger, never for a decision."""

    subject: str
    """RFC 4514."""
    issuer: str
    serial: str
    """Hexadecimal, lower case."""
    sha256: str
    """Hexadecimal, lower case, of the DER."""
    not_after_ms: int = 0
    """When it expires (Unix, milliseconds)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A client certificate was accepted: its chain leads to an anchor of these entries, its name is
    theirs."""

    clients: frozenset[str]
    """Names of the `tls.clients` entries that accept it; never empty."""
    name: str
    """The CN (or dNSName) that was matched."""
    leaf: LeafSummary
    anchor_sha256: str
    """SHA-256 of the trust anchor that ends the chain, hexadecimal; of the first entry, where several
    accept."""
    other_anchors: tuple[tuple[str, str], ...] = ()
    """Of the other entries that accept it: entry, and SHA-256 of its anchor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """No identity, and why."""

    reason: Reason
    detail: str
    leaf: LeafSummary | None = None
    claims: str | None = None
    """The client entry one of whose names the leaf bears, whatever its chain: who it says it is, unproved."""
    staged: str | None = None
    """What a staged anchor would have said; None: none was asked."""
    would_admit: str | None = None
    """The client entry and the staged anchor (16 digits of its SHA-256) that would have admitted it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """The other end of a public connection, as handed to the ASGI app in `scope["state"]["peer"]`."""

    address: str
    """IP address; for logs, never for a trust decision."""
    port: int
    identity: Identity | None
    refusal: Refusal | None
    """Set exactly when `identity` is None."""
    connection: str = ""
    """What the connection is called in logs: unique among all that any process ever had."""


_REASON_OF_X509_ERROR: Final[Mapping[int, Reason]] = {
    2: Reason.UNKNOWN_ISSUER,  # unable to get issuer certificate
    18: Reason.UNKNOWN_ISSUER,  # self-signed leaf
    19: Reason.UNKNOWN_ISSUER,  # self-signed certificate in the chain
    20: Reason.UNKNOWN_ISSUER,  # unable to get local issuer certificate
    21: Reason.UNKNOWN_ISSUER,  # unable to verify the leaf's signature
    9: Reason.NOT_YET_VALID,
    10: Reason.EXPIRED,
    23: Reason.REVOKED,
    26: Reason.WRONG_PURPOSE,  # unsuitable certificate purpose
    79: Reason.WRONG_PURPOSE,  # an issuer that is no CA
}
"""X509_V_ERR_* of OpenSSL's x509_vfy.h; every other one is `bad_chain`."""


def reason_for_x509_error(code: int) -> Reason:
    """Return the reason for one X509 verification error; whatever is not in the table is `bad_chain`, 0
    included."""
    return _REASON_OF_X509_ERROR.get(code, Reason.BAD_CHAIN)


def match_name(common_names: Sequence[str], dns_names: Sequence[str], allowed: Collection[str]) -> str | None:
    """Return the name of a leaf that is allowed, or None.

    1. One CN: it must equal an allowed name, character by character; no wildcards, no folding of case.
    2. Two CNs or more: no name at all, since readers of certificates differ over which one counts.
    3. No CN in the subject: the first dNSName that equals an allowed name. Beside a CN, dNSNames prove
    nothing.
    """
    candidates = common_names if common_names else dns_names
    if len(common_names) > 1:
        return None
    return next((name for name in candidates if name and name in allowed), None)
