"""Every deadline and bound of the HTTP side, in one place, each with its reason."""

from dataclasses import dataclass
from typing import Final

from gateway.settings.model import Listen

_BACKSTOP_SECONDS: Final = 5.0
"""Added to what the app may grant a body, so that it is the app which answers 408."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """What a client may cost. Times in seconds, sizes in bytes."""

    head_seconds: float = 10.0
    """From the first byte of a request head to its last: a head fits in one packet; a slow loris does not."""
    idle_seconds: float = 75.0
    """Keep-alive without a request: nginx's default, longer than the pauses of a steady sender."""
    anonymous_idle_seconds: float = 5.0
    """The same for a public peer without identity, who has one request to make (contract, section 2)."""
    newcomer_seconds: float = 2.0
    """While the gateway stops: for the first request of a connection that has made none. It was let in, so
    its client believes that it is served; a request from the other side of the world is here by then."""
    read_seconds: float = 30.0
    """Between two reads of a body: a backstop, for the app sets the deadline over the whole body."""
    send_seconds: float = 10.0
    """For one slice of an answer: a peer that takes nothing for so long is gone."""
    send_slice_bytes: int = 64 * 1024
    """What `send_seconds` is granted for, so that a long answer to a slow reader is not cut off."""
    linger_seconds: float = 5.0
    """After an answer given before the body has arrived (contract, section 3)."""
    linger_bytes: int = 8 * 1024 * 1024
    """As `linger_seconds`, whichever is reached first."""
    close_seconds: float = 1.0
    """For the good-bye (TLS close_notify): a courtesy, not worth a wait."""
    max_head_bytes: int = 16 * 1024
    """Request line and headers: Meta's are below 1 KiB; 431 above."""
    max_line_bytes: int = 8 * 1024
    """HTTP/1.1: the request line; the least that RFC 9112 section 3 wants to be understood."""
    max_headers: int = 100
    """Header lines; Meta's are a dozen, and each costs more than its bytes."""
    max_requests: int = 10_000
    """On one connection, so that certificates are looked at again now and then."""
    max_streams: int = 100
    """HTTP/2, at the same time: no less, says RFC 9113 section 6.5.2."""
    stream_window_bytes: int = 65_535
    """Body of one HTTP/2 stream that may be here unread: the protocol's default (RFC 9113 section 6.9.2)."""
    max_resets: int = 100
    """Requests in flight that a client may reset on a connection within `resets_seconds`: honest clients give
    up seldom, rapid reset (CVE-2023-44487) lives on it."""
    resets_seconds: float = 60.0
    """See `max_resets`."""
    max_control_frames: int = 1000
    """HTTP/2 frames in a row that bring no request and no body (PING, SETTINGS, PRIORITY, crumbs of DATA):
    each costs work, and some an answer (CVE-2019-9512, 9515, 9518)."""


def http_limits(listen: Listen) -> HttpLimits:
    """Say what the settings mean for HTTP on the public port."""
    limits = listen.limits
    longest_body_seconds = limits.body_seconds + listen.max_body_bytes / limits.body_rate_bytes
    return HttpLimits(
        head_seconds=limits.head_seconds,
        idle_seconds=limits.idle_seconds,
        anonymous_idle_seconds=limits.idle_without_certificate_seconds,
        read_seconds=longest_body_seconds + _BACKSTOP_SECONDS,
        max_head_bytes=limits.head_size_bytes,
        max_headers=limits.headers,
        max_requests=limits.requests,
        max_streams=limits.streams,
        max_resets=limits.resets,
        max_control_frames=limits.control_frames,
    )
