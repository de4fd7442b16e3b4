"""Who is at the other end: the identity proved by a client certificate, or why there is none."""

from dataclasses import dataclass
from enum import StrEnum


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A client certificate was accepted: its chain leads to an anchor of these entries, its name is theirs."""

    clients: frozenset[str]
    """Names of the `tls.clients` entries that accept it; never empty."""
    name: str
    """The CN (or dNSName) that was matched."""
    leaf: LeafSummary
    anchor_sha256: str
    """SHA-256 of the trust anchor that ends the chain, hexadecimal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """No identity, and why."""

    reason: Reason
    detail: str
    leaf: LeafSummary | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """The other end of a public connection, as handed to the ASGI app in `scope["state"]["peer"]`."""

    address: str
    """IP address; for logs, never for a trust decision."""
    port: int
    identity: Identity | None
    refusal: Refusal | None
    """Set exactly when `identity` is None."""
