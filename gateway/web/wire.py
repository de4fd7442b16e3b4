"""What a protocol and its connection say to each other besides Hypercorn's events."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from hypercorn.config import Config
from hypercorn.events import Event
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ConnectionState

from gateway.web.limits import HttpLimits

AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]
"""ASGI 3: `app(scope, receive, send)`; `http` scopes only."""


@dataclass(frozen=True)
class Linger(Event):
    """Close, but read and drop for a while first: no reset may overtake the answer (RFC 9112 section 9.6)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Under what conditions one connection is served."""

    limits: HttpLimits
    max_requests: int
    idle_seconds: float
    is_draining: Callable[[], bool]
    """True once the server shuts down: every answer is then the last one."""
    record_refusal: Callable[[int, str], None]
    """Called with status and reason for a request refused without the app."""
    record_failure: Callable[[int], None]
    """Called with the status of an answer that stands for a failed app."""
    record_abuse: Callable[[str], None]
    """Called with a word for what the connection is ended for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What every protocol class of Hypercorn is made with."""

    app: AppWrapper
    config: Config
    context: WorkerContext
    state: ConnectionState
    """Copied by Hypercorn into each request's `scope["state"]`."""
    is_tls: bool
    client: tuple[str, int] | None
    server: tuple[str, int] | None
    send: Callable[[Event], Awaitable[None]]


class HttpProtocol(Protocol):
    """What a connection asks of the protocol spoken on it."""

    @property
    def is_receiving(self) -> bool:
        """Whether the peer owes some of a body."""

    @property
    def has_begun_head(self) -> bool:
        """Whether some of the next request's head is already here."""

    async def initiate(self) -> None:
        """Say what the server says first."""

    async def handle(self, event: Event) -> None:
        """Take bytes from the peer (RawData), or the news that there will be none (Closed)."""

    def drop(self, data: bytes) -> bool:
        """Drop what still comes after the last answer; True when nothing more is owed, so that it may end."""

    async def begin_drain(self) -> bool:
        """Take no more requests; True when none is in flight, so that the connection can end now."""


def hypercorn_config(limits: HttpLimits) -> Config:
    """Say to Hypercorn's classes what concerns them; deadlines and numbers of requests are kept here."""
    config = Config()
    config.accesslog = None
    config.errorlog = None
    config.include_server_header = False
    config.h11_max_incomplete_size = limits.max_head_bytes
    config.h2_max_concurrent_streams = limits.max_streams
    config.h2_max_header_list_size = limits.max_head_bytes
    return config
