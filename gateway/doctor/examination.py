"""The whole examination: every probe at once, then every judge."""

import ipaddress
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final
from urllib.parse import urlsplit

import trio

from gateway.doctor.backlog import judge_backlog
from gateway.doctor.clock import ask_kernel
from gateway.doctor.disk import look_at_disk
from gateway.doctor.edge import judge_clients
from gateway.doctor.files import read_material
from gateway.doctor.finding import Report
from gateway.doctor.network import (
    ADDRESSES_OF_ONE_NAME,
    for_each,
    host_of,
    look_outside,
    port_of,
    reach_target,
    resolve,
)
from gateway.doctor.observed import (
    PATHS,
    Answer,
    Disk,
    Material,
    Observations,
    Outside,
    Plan,
    Reached,
    Resolved,
    Running,
)
from gateway.doctor.proxy import judge_proxy
from gateway.doctor.public_port import judge_outside
from gateway.doctor.silence import judge_silence
from gateway.doctor.state import judge_gateway
from gateway.doctor.surroundings import judge_clock, judge_names, judge_spool, judge_targets
from gateway.doctor.trust import judge_anchors, judge_certificate
from gateway.errors import Problem
from gateway.settings.load import Loaded
from gateway.settings.model import META_NAME, Settings, Target
from gateway.spool.succession import left_behind
from gateway.tls.certificate import utc_now

ADMIN_SECONDS: Final = 5.0
"""The admin port answers from memory."""

Ask = Callable[[str], Answer]
"""Asks the running gateway for one path of its admin port; blocks the thread, never raises."""

_LOOPBACK: Final = "127.0.0.1"

_JUDGES: Final = (
    judge_gateway,
    judge_certificate,
    judge_anchors,
    judge_silence,
    judge_clients,
    judge_proxy,
    judge_outside,
    judge_targets,
    judge_backlog,
    judge_spool,
    judge_clock,
    judge_names,
)
"""In the order of the report."""


@dataclass(slots=True)
class _Seen:
    """What the probes have brought so far."""

    running: Running | None = None
    disk: Disk | None = None
    resolved: tuple[Resolved, ...] = ()
    targets: tuple[Reached, ...] = ()
    outside: tuple[Outside, ...] = ()


def judge(observations: Observations) -> Report:
    """Turn observations into a report. Pure."""
    findings = [finding for judge_one in _JUDGES for finding in judge_one(observations)]
    return Report(findings=tuple(findings), running=observations.running is not None, at=observations.now)


async def examine(
    loaded: Loaded, problems: tuple[Problem, ...], *, ask: Ask | None, other: str = "", offline: bool
) -> Report:
    """Look at everything at once, and judge it.

    Args:
        loaded: The configuration; its secrets are not needed.
        problems: What `check` says of the files that it names.
        ask: The way to the running gateway; None: none runs.
        other: Which other gateway listens on its admin port, as a sentence; empty: none does.
        offline: No name is looked up, no target and no public port connected to.
    """
    settings = loaded.settings
    material = read_material(settings.tls, utc_now())
    seen = _Seen()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_see_disk, settings, seen)
        if ask is not None:
            nursery.start_soon(_see_running, ask, seen)
        if not offline:
            nursery.start_soon(_see_network, settings, material, seen)
    if seen.disk is None:
        raise RuntimeError("a probe ended without a result")
    return judge(
        Observations(
            now=utc_now(),
            plan=make_plan(loaded, problems),
            material=material,
            running=seen.running,
            other=other,
            disk=seen.disk,
            clock=ask_kernel(),
            offline=offline,
            resolved=seen.resolved,
            targets=seen.targets,
            outside=seen.outside,
        )
    )


def make_plan(loaded: Loaded, problems: tuple[Problem, ...]) -> Plan:
    """Take from the configuration what the judges need."""
    settings = loaded.settings
    url = settings.listen.public_url
    return Plan(
        config=loaded.source.file,
        sha256=loaded.source.sha256,
        admin=str(settings.admin.address),
        public_host=host_of(url) if url else None,
        loopback_only=settings.listen.address.is_loopback,
        handshake=settings.tls.handshake,
        proxied=settings.listen.proxy_protocol != "none",
        meta_clients=frozenset(
            name for name, client in settings.tls.clients.items() if META_NAME in client.names
        ),
        apps={name: app.client_certificate for name, app in settings.apps.items()},
        known_targets=frozenset(settings.targets),
        shadows=frozenset(name for name, one in settings.targets.items() if one.on_give_up == "drop"),
        problems=problems,
        left=left_behind(settings.spool),
    )


async def _see_disk(settings: Settings, seen: _Seen) -> None:
    spool = settings.spool
    seen.disk = await trio.to_thread.run_sync(
        partial(look_at_disk, spool.directory, min_free_bytes=spool.min_free_bytes)
    )


async def _see_running(ask: Ask, seen: _Seen) -> None:
    async def one(path: str) -> tuple[str, Answer]:
        with trio.move_on_after(ADMIN_SECONDS):
            return path, await trio.to_thread.run_sync(ask, path, abandon_on_cancel=True)
        return path, Answer(status=0, fault=f"no answer within {ADMIN_SECONDS:g} s")

    seen.running = Running(answers=dict(await for_each(one, PATHS)))


async def _see_network(settings: Settings, material: Material, seen: _Seen) -> None:
    url = settings.listen.public_url
    hosts = [host_of(target.url) for target in settings.targets.values()]
    resolved = await for_each(resolve, dict.fromkeys([*([host_of(url)] if url else []), *hosts]))
    by_host = {one.host: one for one in resolved}
    # An address that stands in the configuration is no name: nothing was looked up.
    seen.resolved = tuple(one for one in resolved if not _is_address(one.host))

    async def reach(item: tuple[str, Target]) -> Reached:
        name, target = item
        return await reach_target(name, target, by_host[host_of(target.url)])

    async def reach_all() -> None:
        seen.targets = await for_each(reach, settings.targets.items())

    async def look_all() -> None:
        looks = _looks(settings, material, by_host)
        seen.outside = await for_each(_take, looks)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(reach_all)
        nursery.start_soon(look_all)


def _looks(
    settings: Settings, material: Material, resolved: Mapping[str, Resolved]
) -> Iterator[Callable[[], Awaitable[Outside]]]:
    """Make the looks to take: at the port on this machine, and at each address of `public_url`."""
    address, url = settings.listen.address, settings.listen.public_url
    names = material.chain[0].names if material.chain else ()
    host = host_of(url) if url else next((name for name in names if "*" not in name), "localhost")
    path = next(iter(settings.apps.values())).path
    # Behind a load balancer the port demands its PROXY header, and of its addresses alone.
    if address.port and settings.listen.proxy_protocol == "none":
        here = _LOOPBACK if address.is_wildcard or address.host == "localhost" else address.host
        authority = urlsplit(url).netloc if url else f"{host}:{address.port}"
        yield partial(
            look_outside, here, address.port, public=False, host=host, authority=authority, path=path
        )
    if url:
        for each in resolved[host].addresses[:ADDRESSES_OF_ONE_NAME]:
            yield partial(
                look_outside,
                each,
                port_of(url),
                public=True,
                host=host,
                authority=urlsplit(url).netloc,
                path=path,
            )


async def _take(look: Callable[[], Awaitable[Outside]]) -> Outside:
    return await look()


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
