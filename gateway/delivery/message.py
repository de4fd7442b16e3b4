"""What a target receives: the headers and the body of one attempt (contract, section 4). Pure."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from standardwebhooks.webhooks import hmac_data

from gateway.core.envelope import cut
from gateway.core.joining import join
from gateway.core.signature import sign
from gateway.delivery.parcel import Parcel
from gateway.errors import GatewayError
from gateway.spool.contract import Lease

CONTENT_TYPE: Final = "application/json"
USER_AGENT: Final = "meta-webhook-gateway"
LAST_MS: Final = 253_402_300_799_999
"""The last millisecond of the year 9999, beyond which RFC 3339 has no times (section 5.6)."""

_BAD_DATA: Final = (ValueError, LookupError, TypeError, ArithmeticError, RecursionError)
"""What odd data may raise. It must not end a target's task; whatever is wrong with it, it is safe."""

IDS_LISTED: Final = 50
"""Of a merged POST: so many ids make a header of 1.7 KB; 100 would overrun what common servers take."""

_WHSEC_PREFIX: Final = b"whsec_"
_NOT_CONFIGURABLE: Final = frozenset(
    {
        # what the gateway says itself
        "content-type", "x-hub-signature-256", "gateway-app", "gateway-notification",
        "gateway-notification-count", "gateway-attempt", "gateway-received-at", "idempotency-key",
        "webhook-id", "webhook-timestamp", "webhook-signature",
        # what frames the message (RFC 9112 section 6), or would let the answer's size be multiplied
        "content-length", "transfer-encoding", "connection", "accept-encoding", "te", "upgrade", "expect",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingRequest:
    """One POST to a target, ready to be sent."""

    headers: tuple[tuple[bytes, bytes], ...] = field(repr=False)
    body: bytes = field(repr=False)


class UnsendableError(GatewayError):
    """What is stored cannot be made a request: its dead letter keeps it."""


class UncuttableBodyError(UnsendableError):
    """The stored bytes cannot be cut to the delivery's changes: its dead letter keeps them whole."""


class DamagedBodyError(UncuttableBodyError):
    """The stored bytes are not what came: the disk, or memory, has changed them."""


class UnjoinableBodiesError(UnsendableError):
    """The bodies of a group do not make one envelope: its members go singly."""


def body_of(lease: Lease) -> bytes:
    """Return the bytes for the target: the original, or the envelope with only the delivery's changes.

    Raises:
        UncuttableBodyError: the selection does not fit the bytes, or they are damaged.
    """
    if lease.damaged:
        raise DamagedBodyError("the stored bytes are not those that came")
    if lease.selection is None:
        return lease.raw
    try:
        return cut(lease.raw, lease.selection)
    except _BAD_DATA as error:
        raise UncuttableBodyError(f"the body cannot be cut: {type(error).__name__}") from error


def merged_body_of(parcel: Parcel) -> bytes:
    """Return the bytes for the target: the body of the only member, or one envelope of all.

    Raises:
        UncuttableBodyError: of the only member.
        UnjoinableBodiesError: of several.
    """
    if not parcel.merged:
        return body_of(parcel.first)
    try:
        return join([body_of(lease) for lease in parcel.members])
    except (UncuttableBodyError, *_BAD_DATA) as error:
        raise UnjoinableBodiesError(f"the bodies cannot be joined: {type(error).__name__}") from error


def signing_key(secret: bytes) -> bytes:
    """Return the key of a Standard Webhooks secret: `whsec_` and base64, or any other bytes as they stand.

    Standard Webhooks, "Signature scheme": symmetric secrets are base64, prefixed with `whsec_`.

    Raises:
        GatewayError: empty, or no base64 after the prefix.
    """
    key = secret
    if secret.startswith(_WHSEC_PREFIX):
        try:
            encoded = secret.removeprefix(_WHSEC_PREFIX)
            key = base64.b64decode(encoded + b"=" * (-len(encoded) % 4), validate=True)
        except binascii.Error:
            raise GatewayError(
                "a signing secret has no base64 after whsec_", remedy="generate it anew, or drop the prefix"
            ) from None
    if not key:
        raise GatewayError("a signing secret is empty", remedy="give it at least 24 random bytes")
    return key


def rfc3339(unix_ms: int) -> str:
    """Return UTC with milliseconds: `2026-01-02T03:04:05.678Z` (RFC 3339); the nearest of a time beyond
    it.
    """
    unix_ms = min(max(0, unix_ms), LAST_MS)
    moment = datetime.fromtimestamp(unix_ms // 1000, UTC).replace(microsecond=unix_ms % 1000 * 1000)
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def described_headers(lease: Lease, *, attempted: bool) -> dict[str, str]:
    """Return Content-Type and Gateway-*: what is sent besides signatures, and all that a dead letter
    keeps.
    """
    headers = {
        "Content-Type": CONTENT_TYPE,
        "Gateway-App": lease.app,
        "Gateway-Notification": lease.notification_id,
    }
    if attempted:
        headers["Gateway-Attempt"] = str(lease.attempt)
    headers["Gateway-Received-At"] = rfc3339(lease.received_at_ms)
    return headers


def _headers_of(parcel: Parcel) -> dict[str, str]:
    """Return `described_headers` of the oldest member, with the notifications of all."""
    headers = described_headers(parcel.first, attempted=True)
    if parcel.merged:
        listed = parcel.members[:IDS_LISTED]
        headers["Gateway-Notification"] = ", ".join(lease.notification_id for lease in listed)
        headers["Gateway-Notification-Count"] = str(len(parcel.members))
    return headers


def make_request(
    parcel: Parcel,
    *,
    body: bytes,
    app_secret: bytes,
    configured: Mapping[str, bytes],
    webhook_key: bytes | None,
    now_ms: int,
) -> OutgoingRequest:
    """Build one attempt. Nothing of the request that brought the notification goes in (contract, section 4).

    `app_secret` is the app's first secret; `webhook_key` (see `signing_key`) asks for the Standard Webhooks
    headers; `configured` are the target's own headers, which cannot replace the gateway's, `User-Agent`
    excepted.

    Raises:
        UnsendableError: something stored does not fit into a request.
    """
    try:
        headers = _headers(
            parcel, body=body, app_secret=app_secret, webhook_key=webhook_key, timestamp=str(now_ms // 1000)
        )
    except _BAD_DATA as error:
        raise UnsendableError(f"no request can be made of it: {type(error).__name__}") from error
    for name, value in configured.items():
        if name.lower() == "user-agent":
            headers["User-Agent"] = value
        elif name.lower() not in _NOT_CONFIGURABLE:
            headers[name] = value
    return OutgoingRequest(
        headers=tuple((name.encode(), value) for name, value in headers.items()), body=body
    )


def _headers(
    parcel: Parcel, *, body: bytes, app_secret: bytes, webhook_key: bytes | None, timestamp: str
) -> dict[str, bytes]:
    key = parcel.key.encode()
    headers = {name: value.encode() for name, value in _headers_of(parcel).items()}
    headers["X-Hub-Signature-256"] = sign(app_secret, body).encode()
    headers["Idempotency-Key"] = key
    headers["User-Agent"] = USER_AGENT.encode()
    # No decompression: an answer is worth its first bytes only, and a small one may unfold into gigabytes.
    headers["Accept-Encoding"] = b"identity"
    if webhook_key is not None:
        # Over the bytes: the library's own `sign` takes text, and a body need not be UTF-8.
        signed = b".".join((key, timestamp.encode(), body))
        headers["webhook-id"] = key
        headers["webhook-timestamp"] = timestamp.encode()
        headers["webhook-signature"] = b"v1," + base64.b64encode(hmac_data(webhook_key, signed))
    return headers
