"""What a client may cost: `listen.limits`.

Each limit has two ends. Beyond the one it would protect nothing, beyond the other it would shut Meta out; a
value there is refused, and the reason said.
"""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field, PlainValidator

from gateway.settings.amounts import read_count, write_duration, write_size
from gateway.settings.reading import fault
from gateway.settings.section import Model
from gateway.settings.values import Duration, Otherwise, Size, Written

_Number = Annotated[int, PlainValidator(read_count), Written("number", {"type": "integer", "minimum": 1})]


def _within(
    write: Callable[[Any], str], least: float, most: float, *, below: str, above: str
) -> AfterValidator:
    """Refuse what lies outside, with the reason of that end."""

    def check(value: float) -> float:
        if value < least:
            raise fault(f"{write(value)} is too little: {below}", f"write {write(least)} or more")
        if value > most:
            raise fault(f"{write(value)} is too much: {above}", f"write {write(most)} or less")
        return value

    return AfterValidator(check)


_seconds = partial(_within, write_duration)
_bytes = partial(_within, write_size)
_number = partial(_within, str)

_TOO_FAR: Final = "a lost packet on the way around the world takes longer"
_SLEEPERS: Final = "whoever says nothing would hold a place for so long"
_NOBODY: Final = "nobody could ask anything"

_Wait = Annotated[Duration, _seconds(1, 60, below=_TOO_FAR, above=_SLEEPERS)]
_Strangers = Annotated[
    _Number, _number(1, 1_000_000, below="nobody could verify a callback URL", above="no machine bears it")
]
_PerAddress = Annotated[
    _Number, _number(16, 1_000_000, below="Meta opens more from one address", above="no machine bears it")
]


class Limits(Model):
    """What a client may cost. The defaults suit Meta; a value that would protect nothing, or shut Meta out,
    is refused."""

    handshakes: Annotated[
        _Number, _number(16, 65_536, below="Meta opens more at once", above="each takes some 40 KiB")
    ] = 1024
    """TLS handshakes under way at the same time; the oldest gives way to a new one, so that sleepers cannot
    shut the door. Never more than `without_certificate`, for these have none yet."""
    handshake_seconds: Annotated[_Wait, Field(alias="handshake")] = 10.0
    """From the connection to the end of the TLS handshake, a PROXY header included."""
    without_certificate: Annotated[_Strangers | None, Otherwise("a quarter of `max_connections`")] = None
    """Connections without an accepted certificate; they have one request each. Less than `max_connections`,
    so that strangers cannot take Meta's place."""
    per_address: Annotated[_PerAddress | None, Otherwise("no limit")] = None
    """Connections from one address (IPv6: one /64), as the PROXY header tells it where there is one. Not for
    behind a load balancer that sends none: there all come from one address."""
    head_seconds: Annotated[_Wait, Field(alias="head")] = 10.0
    """From the first byte of a request's head to its last."""
    head_size_bytes: Annotated[
        Size,
        _bytes(4096, 256 * 1024, below="Meta's take 1 KiB, and may grow", above="it is held in memory"),
        Field(alias="head_size"),
    ] = 16 * 1024
    """Request line and headers together; 431 above."""
    headers: Annotated[
        _Number, _number(32, 1000, below="Meta sends a dozen, and may send more", above="each costs work")
    ] = 100
    """Headers of one request; 431 above."""
    body_seconds: Annotated[
        Duration, _seconds(1, 600, below=_TOO_FAR, above=_SLEEPERS), Field(alias="body")
    ] = 30.0
    """How long a body may take, besides the time that its bytes are granted at `body_rate`; 408 beyond."""
    body_rate_bytes: Annotated[
        Size,
        _bytes(1024, 1024**2, below="a body could drip in for hours", above="Meta's line may be slower"),
        Field(alias="body_rate"),
    ] = 32 * 1024
    """Bytes a second: who sends at least so fast always finishes. At the default, 3 MiB take two minutes at
    most."""
    idle_seconds: Annotated[
        Duration,
        _seconds(1, 3600, below="each notification would need a new handshake", above=_SLEEPERS),
        Field(alias="idle"),
    ] = 75.0
    """How long a connection may wait for its next request."""
    idle_without_certificate_seconds: Annotated[_Wait, Field(alias="idle_without_certificate")] = 5.0
    """The same for a connection without an accepted certificate, which has one request to make."""
    requests: Annotated[
        _Number, _number(1, 1_000_000, below=_NOBODY, above="a certificate is looked at once a connection")
    ] = 10_000
    """Requests on one connection; then the client opens a new one, and its certificate is looked at again."""
    streams: Annotated[_Number, _number(1, 256, below=_NOBODY, above="each may hold 64 KiB of body")] = 100
    """HTTP/2: requests of one connection at the same time; one more is refused (REFUSED_STREAM)."""
    resets: Annotated[
        _Number, _number(10, 10_000, below="honest clients give up too", above="CVE-2023-44487 lives on it")
    ] = 100
    """HTTP/2: requests in flight that a client may reset within a minute; beyond, the connection ends (rapid
    reset)."""
    control_frames: Annotated[
        _Number, _number(100, 100_000, below="honest clients send more", above="CVE-2019-9512 lives on it")
    ] = 1000
    """HTTP/2: frames in a row that bring neither request nor body, such as PING and SETTINGS; beyond, the
    connection ends."""
