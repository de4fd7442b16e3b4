"""What the head of a request decides, before a byte of its body is read. Pure.

The order of the checks is part of the contract (section 3): it says which of two faults a client is told of.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import msgspec

from gateway.core.asgi import BODY_IS_HERE
from gateway.core.challenge import ChallengeAccepted, answer_challenge
from gateway.core.identity import Peer, Reason
from gateway.ingress.asgi import Header, Scope
from gateway.spool.contract import Room

RETRY_AFTER_SECONDS: Final = 10
"""Said with every 503: soon enough that little piles up at Meta, late enough that a full disk is noticed."""

SIGNATURE_HEADER: Final = b"x-hub-signature-256"

_LONGEST_LENGTH_DIGITS: Final = 18
"""A Content-Length of more digits is too large for whatever we could be asked to take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IngressApp:
    """One Meta app, as the public port needs it."""

    name: str
    path: bytes
    """As it stands in the request line: compared byte by byte, nothing is decoded."""
    secrets: tuple[bytes, ...] = field(repr=False)
    """Any of them may have signed; never empty, none of them empty."""
    verify_token: bytes = field(repr=False)
    clients: frozenset[str]
    """Names of the `tls.clients` entries whose certificates count for this app."""
    certificate_required: bool
    """False: the signature alone decides, and what was presented is counted (`report`)."""


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """What the checks look at."""

    method: str
    path: bytes | None
    """None where the server does not say what stood in the request line; then no app is found."""
    query: bytes
    headers: Sequence[Header]
    """Names in lower case (ASGI 3)."""
    peer: Peer | None
    """None where the server does not speak TLS."""
    address: str
    """For logs."""
    body_is_here: bool = False
    """The server says that the body need not be waited for."""

    def __repr__(self) -> str:
        """Tell it without query and headers, which may hold a verify token (law 8)."""
        return f"Head(method={self.method!r}, path={self.path!r}, address={self.address!r})"

    @classmethod
    def of(cls, scope: Scope) -> "Head":
        """Read the head from an ASGI scope of type `http`."""
        peer: Peer | None = scope.get("state", {}).get("peer")
        client = scope.get("client")
        return cls(
            method=scope["method"],
            path=scope.get("raw_path"),
            query=scope["query_string"],
            headers=scope["headers"],
            peer=peer,
            address=peer.address if peer is not None else client[0] if client else "",
            body_is_here=BODY_IS_HERE in (scope.get("extensions") or ()),
        )

    @property
    def connection(self) -> str | None:
        """For logs: which connection it came by."""
        return self.peer.connection if self.peer is not None else None

    def values(self, name: bytes) -> list[bytes]:
        """Return the values of every header of this name, in order."""
        return [value for key, value in self.headers if key == name]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refuse:
    """Answer this, and store nothing."""

    status: int
    word: str
    """The whole body of the answer: says what was wrong, and nothing about us."""
    detail: str = ""
    """For the log."""
    headers: tuple[Header, ...] = ()
    crowded: bool = False
    """Of a 503: strangers can bring it upon each other, where no certificate is required."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """Answer 200 with these bytes: the callback URL is ours."""

    challenge: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadBody:
    """Nothing speaks against the head: read the body."""


READ_BODY: Final = ReadBody()

Presented = Literal["accepted", "refused", "none"]

UNKNOWN_PATH: Final = Refuse(status=404, word="unknown_path")
DISCONNECTED: Final = Refuse(status=499, word="disconnected", detail="body")
"""Counted, never sent: the client left before its body was here (499 is nginx's number for that)."""


def unavailable(detail: str, *, crowded: bool = False) -> Refuse:
    """Refuse for now: Meta comes again."""
    retry_after = (b"retry-after", str(RETRY_AFTER_SECONDS).encode("ascii"))
    return Refuse(status=503, word="unavailable", detail=detail, headers=(retry_after,), crowded=crowded)


def too_large(detail: str) -> Refuse:
    """Refuse a body over `max_body`."""
    return Refuse(status=413, word="too_large", detail=detail)


def presented(app: IngressApp, peer: Peer | None) -> Presented:
    """Say what the client presented, seen from one app: a certificate of another app's client is refused."""
    if peer is None:
        return "none"
    if peer.identity is not None:
        return "accepted" if peer.identity.clients & app.clients else "refused"
    if peer.refusal is not None and peer.refusal.reason is not Reason.NO_CERTIFICATE:
        return "refused"
    return "none"


def examine_get(app: IngressApp, head: Head) -> Challenge | Refuse:
    """Judge a verification request; it comes before mTLS can be switched on, so without a certificate."""
    match answer_challenge(head.query, verify_token=app.verify_token):
        case ChallengeAccepted(challenge=challenge):
            return Challenge(challenge=challenge)
        case refused:
            word = "verify_token" if refused.status == 403 else "parameters"
            return Refuse(status=refused.status, word=word, detail=refused.detail)


def examine_post(app: IngressApp, head: Head, *, room: Room, max_body_bytes: int) -> ReadBody | Refuse:
    """Judge the head of a notification."""
    # 1. A client that has proved to be one of this app's (identity, not signature: that needs the body).
    if app.certificate_required and presented(app, head.peer) != "accepted":
        return Refuse(status=403, word="client_certificate", detail=why_no_client(head.peer))
    # 2. Meta signs the bytes that it sends; a decoded body would be other bytes. RFC 9110 section 15.5.16
    #    asks for Accept-Encoding, so that the client learns which codings would do.
    if head.values(b"content-encoding"):
        accepted = (b"accept-encoding", b"identity")
        return Refuse(status=415, word="content_encoding", headers=(accepted,))
    # 3. Room on disk, before anything is taken in that could not be kept.
    if not (room.enough and room.writable):
        return unavailable(room.detail or "no room")
    # 4. A body that says itself that it is too large.
    declared = max((_length(value) for value in head.values(b"content-length")), default=0)
    if declared > max_body_bytes:
        return too_large("content-length")
    return READ_BODY


def examine(app: IngressApp, head: Head, *, room: Room, max_body_bytes: int) -> Challenge | ReadBody | Refuse:
    """Judge a request on a path that is an app's."""
    match head.method:
        case "GET":
            return examine_get(app, head)
        case "POST":
            return examine_post(app, head, room=room, max_body_bytes=max_body_bytes)
        case _:
            return Refuse(
                status=405, word="method", detail=head.method[:16], headers=((b"allow", b"GET, POST"),)
            )


def why_no_client(peer: Peer | None) -> str:
    """Say why a peer is no client of an app that has not accepted it."""
    if peer is None:
        return Reason.NO_CERTIFICATE
    if peer.refusal is not None:
        return peer.refusal.reason
    return "client_of_another_app"


def _length(value: bytes) -> int:
    """Read a Content-Length; one that is no number counts as 0: the reading has a bound too."""
    if not value.isdigit():
        return 0
    return int(value) if len(value) <= _LONGEST_LENGTH_DIGITS else int("9" * _LONGEST_LENGTH_DIGITS)
