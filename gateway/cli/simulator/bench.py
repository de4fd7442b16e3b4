"""`gateway bench`: Meta's part at a rate."""

import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import urlsplit

import typer

from gateway.cli import quantities
from gateway.cli.completion.proposals import complete_target
from gateway.cli.output import EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED, err, options, out, out_json
from gateway.cli.simulator.meta_part import CA_HELP, KEY_HELP, SOURCES, URL_HELP, Call, find_papers, resolve
from gateway.clock import unix_ms
from gateway.errors import UsageError
from gateway.simulator.bench.mix import (
    DEFAULT_SHARES,
    LARGE_CHANGES,
    LEAST_LARGE_BYTES,
    MEANINGS,
    MOST_LARGE_BYTES,
    parse_shares,
)

if TYPE_CHECKING:
    from gateway.settings.model import Settings
    from gateway.simulator.bench.course import Counting, Course, Watch
    from gateway.simulator.bench.figures import Figures
    from gateway.simulator.bench.tally import Tally

_DEFAULT_TARGET: Final = "bench"
_SNIPPET: Final = """\
to count loss and duplicates, the gateway under test needs a target that this command stands in for, and a
route to it:

  targets:
    bench: {url: "http://127.0.0.1:8099/", max_changes: 100, on_give_up: drop, breaker: {probe_every: 1s}}
  routes:
    - {field: "*", to: [bench]}

with an address of this machine that the gateway can reach. Reload it (SIGHUP) before the bench begins.
To stand in for a target that is there already: --target NAME"""

_SENDING: Final = "Meta's part"
_LOAD: Final = "Load"
_VERIFYING: Final = "Verifying"
_DEFAULT_MIX: Final = ",".join(f"{kind}={share:g}" for kind, share in DEFAULT_SHARES.items())
_KINDS: Final = "; ".join(f"{kind}: {meaning}" for kind, meaning in MEANINGS.items())


def command(
    rate: Annotated[
        str,
        typer.Option(
            "--rate", help="Notifications to begin each second.", metavar="N", rich_help_panel=_LOAD
        ),
    ] = "300",
    duration: Annotated[
        str, typer.Option("--duration", help="For how long.", metavar="TIME", rich_help_panel=_LOAD)
    ] = "30s",
    connections: Annotated[
        int,
        typer.Option("--connections", min=1, max=4096, help="Kept open all the time.", rich_help_panel=_LOAD),
    ] = 32,
    changes: Annotated[
        int,
        typer.Option(
            "--changes",
            min=1,
            max=LARGE_CHANGES,
            help="In each ordinary notification.",
            rich_help_panel=_LOAD,
        ),
    ] = 1,
    mix: Annotated[
        str,
        typer.Option(
            "--mix",
            help="Shares of each kind; what is not named is not sent. " + _KINDS + ".",
            metavar="KIND=SHARE,...",
            rich_help_panel=_LOAD,
        ),
    ] = _DEFAULT_MIX,
    large: Annotated[
        str,
        typer.Option(
            "--large", help="Size of a body of the kind large.", metavar="SIZE", rich_help_panel=_LOAD
        ),
    ] = "3MiB",
    processes: Annotated[
        int | None,
        typer.Option(
            "--processes",
            min=1,
            max=64,
            help="Of the load client; default: one for each 3000/s, up to the number of cores.",
            rich_help_panel=_LOAD,
        ),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(
            "--url",
            help=URL_HELP,
            metavar="URL",
            rich_help_panel=_SENDING,
        ),
    ] = None,
    cert: Annotated[
        Path | None,
        typer.Option(
            "--cert",
            help="Client certificate, leaf and intermediate in one PEM file; default: certs/client.pem beside"
            " the configuration, where there is one.",
            rich_help_panel=_SENDING,
        ),
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option("--key", help=KEY_HELP, rich_help_panel=_SENDING),
    ] = None,
    ca: Annotated[
        Path | None,
        typer.Option(
            "--ca",
            help=CA_HELP,
            rich_help_panel=_SENDING,
        ),
    ] = None,
    secret: Annotated[
        str | None,
        typer.Option(
            "--secret",
            help=f"The app secret: {SOURCES}; default: from the configuration, of the app whose path is in"
            " the URL, else of the first.",
            metavar="FILE|env:NAME",
            rich_help_panel=_SENDING,
        ),
    ] = None,
    yes_really: Annotated[
        bool,
        typer.Option(
            "--yes-really",
            help="The URL is not this machine, and the load is wanted there all the same.",
            rich_help_panel=_SENDING,
        ),
    ] = False,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Stand in for a target of the configuration, and count what is lost and what comes twice.",
            rich_help_panel=_VERIFYING,
        ),
    ] = False,
    target: Annotated[
        str | None,
        typer.Option(
            "--target",
            help=f"Which target to stand in for; default: {_DEFAULT_TARGET}.",
            metavar="NAME",
            autocompletion=complete_target,
            rich_help_panel=_VERIFYING,
        ),
    ] = None,
    listen: Annotated[
        str | None,
        typer.Option(
            "--listen",
            help="Where to listen, if not at the address of the target's URL. Without a configuration that"
            " has the target, every change must arrive here.",
            metavar="HOST:PORT",
            rich_help_panel=_VERIFYING,
        ),
    ] = None,
    settle: Annotated[
        str,
        typer.Option(
            "--settle",
            help="After the last POST: so long nothing may arrive, before what is missing counts as lost.",
            metavar="TIME",
            rich_help_panel=_VERIFYING,
        ),
    ] = "30s",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result for scripts.")] = False,
) -> None:
    """Play Meta at a rate, and say whether the gateway meets Meta's bar.

    The bar: the median at most 250 ms, less than 1 % above 1 s; what is not answered 200 counts as slower
    than that. Requests are due at fixed times, whatever the answers take (open loop), and latency counts from
    then. The notifications are new each time, signed as Meta signs, and go where the routes say: to real
    targets, where there are any.

    Exit code 0: PASS; 1: FAIL, or the first notification was not taken; 2: wrong usage; 130: Ctrl-C, which
    prints the report so far.
    """
    import trio

    from gateway.simulator.bench.course import Course, measure

    call = resolve(url=url, secret=secret, signs=True)
    _demand_loopback(call.base_url, agreed=yes_really)
    large_bytes = quantities.size(large, option="--large")
    if not LEAST_LARGE_BYTES <= large_bytes <= MOST_LARGE_BYTES:
        raise UsageError("--large: Meta's bodies have up to 3 MB", remedy="write a size from 1KiB to 3MiB")
    seconds = quantities.duration(duration, option="--duration")
    if seconds <= 0:
        raise UsageError("--duration: no time at all", remedy="write 30s or 5m")
    papers = find_papers(cert=cert, key=key, ca=ca)
    course = Course(
        base_url=call.base_url,
        path=call.path,
        secret=call.secret or b"",
        ca=papers.ca,
        system_trust=papers.system_trust,
        certificate=papers.certificate,
        private_key=papers.private_key,
        rate=quantities.rate(rate if "/" in rate else f"{rate}/s"),
        seconds=seconds,
        connections=connections,
        processes=processes,
        shares=parse_shares(mix),
        changes=changes,
        large_bytes=large_bytes,
        now_ms=unix_ms(),
        counting=_counting(call, target, listen, quantities.duration(settle, option="--settle"))
        if verify or target or listen
        else None,
    )
    err(
        f"{course.rate:g}/s to {course.wanted.url}, {papers.presented};"
        " Ctrl-C ends it and prints the report so far"
    )

    async def run() -> "Figures":
        interrupted = trio.Event()

        async def heed(*, task_status: trio.TaskStatus[None]) -> None:
            with trio.open_signal_receiver(signal.SIGINT) as signals:
                task_status.started()
                async for _ in signals:
                    interrupted.set()

        async with trio.open_nursery() as nursery:
            await nursery.start(heed)
            with _watching(course) as watch:
                figures = await measure(course, watch=watch, interrupted=interrupted)
            nursery.cancel_scope.cancel()
        return figures

    _tell(trio.run(run), as_json=as_json)


def _tell(figures: "Figures", *, as_json: bool) -> None:
    from gateway.cli.simulator.bench_report import lines

    if as_json:
        out_json(figures.as_json())
    else:
        colours = {"PASS": "green", "FAIL": "red"} if sys.stdout.isatty() else {}
        for line in lines(figures):
            out(typer.style(line, fg=colours.get(line[:4])) if line[:4] in colours else line)
    if figures.interrupted:
        raise typer.Exit(EXIT_INTERRUPTED)
    raise typer.Exit(EXIT_DONE if figures.passed else EXIT_FAILED)


def _demand_loopback(base_url: str, *, agreed: bool) -> None:
    """Let nobody load a machine by a slip of the finger.

    Raises:
        UsageError: the host is not this machine, and nobody has agreed.
    """
    parts = urlsplit(base_url)
    host = parts.hostname or ""
    try:
        found = socket.getaddrinfo(host, parts.port or 443, type=socket.SOCK_STREAM)
    except OSError as error:
        raise UsageError(f"{host}: no such host ({error.strerror})", remedy="correct --url") from error
    from ipaddress import ip_address

    if agreed or all(ip_address(str(one[4][0]).partition("%")[0]).is_loopback for one in found):
        return
    raise UsageError(
        f"{host} is not this machine, and a bench is a load that its targets get, too",
        remedy="add --yes-really if it is meant for it: a staging deployment, never what serves Meta",
    )


def _counting(call: Call, name: str | None, listen: str | None, settle_seconds: float) -> "Counting":
    """Say where to stand, and what must arrive there.

    Raises:
        UsageError: the configuration has no such target, or nothing can listen in its place.
    """
    from pydantic_core import PydanticCustomError

    from gateway.settings.address import Address
    from gateway.settings.routes import routing_table
    from gateway.simulator.bench.course import Counting

    settings = _settings_if_any()
    target = name or _DEFAULT_TARGET
    known = settings.targets.get(target) if settings is not None else None
    if name is not None and known is None:
        where = f"targets: {', '.join(settings.targets)}" if settings is not None else "give --config"
        raise UsageError(f"{options.config} has no target {name!r:.80}", remedy=where)
    try:
        address = Address.parse(listen) if listen is not None else None
    except PydanticCustomError as error:
        raise UsageError(f"--listen: {error.message()}", remedy="write 0.0.0.0:8099") from error
    if known is not None and address is None:
        parts = urlsplit(known.url)
        if parts.scheme != "http":
            raise UsageError(
                f"targets.{target}.url is {parts.scheme}, and this command listens without TLS",
                remedy="give a target with an http URL, as --help shows",
            )
        address = Address(host=parts.hostname or "", port=parts.port or 80)
    if address is None:
        raise UsageError(f"{options.config} has no target {target!r}", remedy=_SNIPPET)
    if settings is None or known is None:
        return Counting(address=address, table=None, app="", target=target, settle_seconds=settle_seconds)
    path = call.path.partition("?")[0]
    app = next((app for app, one in settings.apps.items() if one.path == path), next(iter(settings.apps)))
    return Counting(
        address=address, table=routing_table(settings), app=app, target=target, settle_seconds=settle_seconds
    )


def _settings_if_any() -> "Settings | None":
    import os

    from gateway.settings.load import load_settings

    if not options.config.exists():
        return None
    return load_settings(options.config, environ=os.environ, with_secrets=False).settings


@contextmanager
def _watching(course: "Course") -> "Iterator[Watch]":
    """Show on stderr how far it is, where that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda stage, tally, arrived: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns: list[Any] = [TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[now]}")]
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("opening connections", total=course.seconds, now="")

        def watch(stage: str, tally: "Tally", arrived: int) -> None:
            told = f"{tally.accepted} x 200, median {tally.latencies().percentile_ms(0.5):.1f} ms"
            if failed := tally.answered - tally.accepted + sum(tally.faults.values()):
                told += f", {failed} failed"
            if course.counting is not None:
                told += f", {arrived} arrived"
            progress.update(task, description=stage, completed=min(tally.seconds, course.seconds), now=told)

        yield watch
