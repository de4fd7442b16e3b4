"""Probes: names, targets, and the public port as it looks from outside. Nothing is sent to a target."""

import errno
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Final, TypeVar
from urllib.parse import urlsplit

import trio

from gateway.delivery.sender import tls_context
from gateway.doctor.observed import Fault, Outside, Reached, Resolved
from gateway.errors import GatewayError, PeerError
from gateway.network_faults import describe
from gateway.settings.model import Target
from gateway.tls.look import Look, look_at

LOOKUP_SECONDS: Final = 5.0
"""One name server asked twice: the system's resolver waits 5 s for each."""
CONNECT_SECONDS: Final = 5.0
"""TCP and TLS: two retransmissions of a lost SYN (1 s, 3 s) are within."""
CLIENT_VERDICT_SECONDS: Final = 0.3
"""In TLS 1.3 a server refuses a client's certificate after the handshake: as long is waited for its alert."""
AT_ONCE: Final = 32
"""Threads and connections under way together; a configuration names a few dozen targets."""
ADDRESSES_OF_ONE_NAME: Final = 8
"""Looked at; a name with more is a big load balancer's, whose addresses are much alike."""

_In = TypeVar("_In")
_Out = TypeVar("_Out")

_FAULTS: Final[dict[int, Fault]] = {
    errno.ECONNREFUSED: "refused",
    errno.ENETUNREACH: "unreachable",
    errno.EHOSTUNREACH: "unreachable",
    errno.EADDRNOTAVAIL: "unreachable",
    errno.ETIMEDOUT: "timeout",
}


async def for_each(probe: Callable[[_In], Awaitable[_Out]], inputs: Iterable[_In]) -> tuple[_Out, ...]:
    """Run a probe on every input at once; results in the order of the inputs."""
    known = list(inputs)
    results: dict[int, _Out] = {}
    limiter = trio.CapacityLimiter(AT_ONCE)

    async def run(position: int, value: _In) -> None:
        async with limiter:
            results[position] = await probe(value)

    async with trio.open_nursery() as nursery:
        for position, value in enumerate(known):
            nursery.start_soon(run, position, value)
    return tuple(results[position] for position in range(len(known)))


async def resolve(host: str) -> Resolved:
    """Look a name up, as the system does, and note the time; never raises."""
    started = trio.current_time()
    try:
        with trio.fail_after(LOOKUP_SECONDS):
            found = await _lookup(host)
    except trio.TooSlowError:
        return Resolved(host=host, seconds=LOOKUP_SECONDS, fault=f"no answer within {LOOKUP_SECONDS:g} s")
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not a host name"
        return Resolved(host=host, seconds=trio.current_time() - started, fault=str(why))
    return Resolved(host=host, seconds=trio.current_time() - started, addresses=found)


async def _lookup(host: str) -> tuple[str, ...]:
    ask = partial(socket.getaddrinfo, host, None, type=socket.SOCK_STREAM)
    # A limiter of its own: a thread that hangs in the system's resolver delays no other.
    limiter = trio.CapacityLimiter(1)
    found = await trio.to_thread.run_sync(ask, abandon_on_cancel=True, limiter=limiter)
    return tuple(dict.fromkeys(str(where[0]) for _, _, _, _, where in found))


async def reach_target(name: str, target: Target, resolved: Resolved) -> Reached:
    """Connect to a target, with its own TLS where it is https, and hang up; never raises."""
    port = port_of(target.url)
    seen = partial(Reached, name=name, url=target.url)
    if resolved.fault:
        return seen(fault=f"{resolved.host} cannot be looked up: {resolved.fault}")
    context: ssl.SSLContext | None = None
    if target.url.lower().startswith("https:"):
        try:
            context = tls_context(target.url, target.tls)
        except GatewayError as error:
            return seen(fault=error.message, remedy=error.remedy)
    silent: list[str] = []
    for address in resolved.addresses[:ADDRESSES_OF_ONE_NAME]:
        started = trio.current_time()
        where = _join(address, port)
        try:
            with trio.fail_after(min(CONNECT_SECONDS, target.timeout_seconds)):
                protocol = await _greet(address, port, resolved.host, context)
        except trio.TooSlowError:
            silent.append(f"{where}: no connection within {min(CONNECT_SECONDS, target.timeout_seconds):g} s")
        except (OSError, ssl.SSLError, trio.BrokenResourceError) as error:
            silent.append(f"{where}: {describe(error)}")
        else:
            took = trio.current_time() - started
            return seen(seconds=took, address=where, protocol=protocol, unreachable=tuple(silent))
    return seen(fault="; ".join(silent))


async def _greet(address: str, port: int, host: str, context: ssl.SSLContext | None) -> str:
    """Connect, shake hands where there is a context, and close; return the protocol of TLS."""
    stream = await trio.open_tcp_stream(address, port)
    try:
        if context is None:
            return ""
        secured = trio.SSLStream(stream, context, server_hostname=host)
        await secured.do_handshake()
        with trio.move_on_after(CLIENT_VERDICT_SECONDS):
            if not await secured.receive_some(1):
                # Not every OpenSSL hands the alert on: an end in the place of it says as much.
                raise ssl.SSLError("the target closed the connection after the handshake")
        return str(secured.version())
    finally:
        await trio.aclose_forcefully(stream)


async def look_outside(
    address: str, port: int, *, public: bool, host: str, authority: str, path: str
) -> Outside:
    """Look at the public port over one address, as a client without certificate; never raises.

    What is sent is a GET of an app's path without parameters, which no version of the gateway takes for
    anything.
    """
    request = f"GET {path} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: gateway-doctor\r\n"
    request += "Connection: close\r\n\r\n"
    seen = partial(Outside, address=_join(address, port), public=public, ours=_is_ours(address))
    work = partial(_look, address, port, host, request.encode("ascii", "replace"))
    try:
        with trio.fail_after(CONNECT_SECONDS * 2):
            limiter = trio.CapacityLimiter(1)
            return seen(look=await trio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=limiter))
    except (TimeoutError, trio.TooSlowError):
        return seen(fault="timeout", detail=f"no answer within {CONNECT_SECONDS:g} s")
    except PeerError as error:
        return seen(fault="failed", detail=error.message)
    except OSError as error:
        return seen(fault=_FAULTS.get(error.errno or 0, "failed"), detail=error.strerror or str(error))


def _look(address: str, port: int, host: str, request: bytes) -> Look:
    with socket.create_connection((address, port), timeout=CONNECT_SECONDS) as peer:
        return look_at(peer, server_name=host, request=request, seconds=CONNECT_SECONDS)


def host_of(url: str) -> str:
    """Return the host of a URL, as it is looked up."""
    return urlsplit(url).hostname or ""


def port_of(url: str) -> int:
    """Return the port of a URL, stated or the scheme's."""
    parts = urlsplit(url)
    return parts.port or (443 if parts.scheme == "https" else 80)


def _join(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _is_ours(address: str) -> bool:
    """Say whether an address is this machine's: then it can be bound to."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True
