"""`gateway send`: Meta's part, once or a few times."""

import secrets
import statistics
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Final

import trio
import typer

from gateway.cli.completion.proposals import complete_sample
from gateway.cli.output import EXIT_DONE, EXIT_FAILED, err, out, out_json
from gateway.cli.simulator.meta_part import (
    CA_HELP,
    KEY_HELP,
    SOURCES,
    URL_HELP,
    find_papers,
    read_reference,
    resolve,
)
from gateway.clock import unix_ms
from gateway.errors import PeerError, UsageError
from gateway.simulator.answers import explain_status
from gateway.simulator.client import Exchange, MetaClient
from gateway.simulator.payloads import find_sample, freshen
from gateway.telemetry.redaction import visible

_CHALLENGES: Final = 10**10
"""Meta's challenges are decimal numbers of up to ten digits."""

_SHOWN_BYTES: Final = 200
"""Of an answer: the gateway's are a word; what stands before it may answer with a page."""


def command(
    url: Annotated[
        str | None,
        typer.Option(
            "--url",
            help=URL_HELP,
            metavar="URL",
        ),
    ] = None,
    cert: Annotated[
        Path | None,
        typer.Option(
            "--cert",
            help="Client certificate, leaf and intermediate in one PEM file; default: certs/client.pem beside"
            " the configuration, as gateway init makes it, where there is one; with --challenge none, as Meta"
            " presents none there.",
        ),
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option("--key", help=KEY_HELP),
    ] = None,
    ca: Annotated[
        Path | None,
        typer.Option(
            "--ca",
            help=CA_HELP,
        ),
    ] = None,
    secret: Annotated[
        str | None,
        typer.Option(
            "--secret",
            help=f"The app secret: {SOURCES}; default: from the configuration, of the app whose path is"
            " in the URL, else of the first. As plain text it is seen in the process list.",
            metavar="FILE|env:NAME",
        ),
    ] = None,
    payload: Annotated[
        Path | None,
        typer.Option(
            "--payload",
            help="Send this file, byte for byte (repeated, it is a duplicate: answered 200, stored once);"
            " - reads stdin.",
            metavar="FILE",
        ),
    ] = None,
    field: Annotated[
        str | None,
        typer.Option(
            "--field",
            autocompletion=complete_sample,
            help="Send a sample of this field, with fresh ids and times: messages, messages.image, page/feed."
            " gateway fields lists them.",
        ),
    ] = None,
    repeat: Annotated[
        int,
        typer.Option(
            "--repeat", min=1, help="Send so many, one after the other, and sum up. At a rate: gateway bench."
        ),
    ] = 1,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="With --repeat: print a line for each, too.")
    ] = False,
    challenge: Annotated[
        str | None,
        typer.Option(
            "--challenge",
            help="Send the verification GET with this verify token instead of a POST; env:NAME and file:PATH"
            " are read.",
            metavar="TOKEN",
        ),
    ] = None,
    no_cert: Annotated[bool, typer.Option("--no-cert", help="Present no client certificate.")] = False,
    http2: Annotated[bool, typer.Option("--http2", help="Offer HTTP/2.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result for scripts.")] = False,
) -> None:
    """Play Meta once: signed POSTs over mTLS, or the verification GET.

    Prints status, time, HTTP version and answer of each request. What is not given comes from the
    configuration. The exit code is 0 if every answer was 200 (and the challenge came back), else 1.
    """
    if sum(option is not None for option in (payload, field, challenge)) != 1:
        raise UsageError("say what to send", remedy="give one of --field, --payload and --challenge")
    if cert is not None and no_cert:
        raise UsageError("--cert and --no-cert together", remedy="give one of them")
    next_body = _bodies(payload, field) if challenge is None else None
    call = resolve(url=url, secret=secret, signs=challenge is None)
    papers = find_papers(cert=cert, key=key, ca=ca, presents=challenge is None and not no_cert)
    client = MetaClient(
        call.base_url,
        secret=call.secret,
        ca=papers.ca,
        system_trust=papers.system_trust,
        certificate=papers.certificate,
        private_key=papers.private_key,
        http2=http2,
    )
    token = "" if challenge is None else read_reference(challenge, bare=str.encode).decode()
    err(f"{'GET' if next_body is None else 'POST'} {call.base_url}{call.path}, {papers.presented}")
    tell_each = not as_json and (repeat == 1 or verbose)
    with _progress(repeat, shown=not tell_each) as step:
        sent = trio.run(_send, client, call.path, next_body, token, repeat, tell_each, step)
    if as_json:
        out_json({"url": call.base_url + call.path, "ok": sent.ok, "requests": sent.plain()})
    elif repeat > 1:
        out(sent.summary())
    if refused := sent.refusal():
        err(f"{refused.status}: {explain_status(refused.status, word=_answer(refused))}")
    raise typer.Exit(EXIT_DONE if sent.ok else EXIT_FAILED)


def _bodies(payload: Path | None, field: str | None) -> Callable[[], bytes]:
    """Return what gives the next body."""
    if field is not None:
        sample = find_sample(field).read()
        return lambda: freshen(sample, now_ms=unix_ms(), draw=lambda: secrets.token_hex(12))
    path = payload or Path("-")
    try:
        body = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except OSError as error:
        remedy = "--payload names a file with a notification"
        raise UsageError(f"{path}: {error.strerror}", remedy=remedy) from error
    return lambda: body


def _answer(exchange: Exchange) -> str:
    """The answer's body: a word of the gateway's, or the challenge; fit for a terminal, whoever answered."""
    return visible(exchange.body[:_SHOWN_BYTES].decode(errors="replace").strip())


class _Sent:
    """What came back."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []
        self.fault = ""
        """Why the last request counts as failed, where its status does not tell."""

    @property
    def ok(self) -> bool:
        return not self.fault and all(one.status == 200 for one in self.exchanges)

    def refusal(self) -> Exchange | None:
        """Return the first answer that was not 200."""
        return next((one for one in self.exchanges if one.status != HTTPStatus.OK), None)

    def plain(self) -> list[dict[str, object]]:
        told: list[dict[str, object]] = [
            {
                "status": one.status,
                "milliseconds": round(one.milliseconds, 2),
                "http_version": one.http_version,
                "answer": _answer(one),
            }
            for one in self.exchanges
        ]
        return [*told, {"status": None, "error": self.fault}] if self.fault else told

    def summary(self) -> str:
        statuses = [one.status for one in self.exchanges]
        if not statuses:
            return "no request was answered"
        counts = ", ".join(f"{statuses.count(status)} x {status}" for status in sorted(set(statuses)))
        times = [one.milliseconds for one in self.exchanges]
        median = statistics.median(times)
        return f"{len(statuses)} requests: {counts}; median {median:.1f} ms, slowest {max(times):.1f} ms"


@contextmanager
def _progress(repeat: int, *, shown: bool) -> Iterator[Callable[[], None]]:
    """Show on stderr how many were answered, where that is a terminal and nothing else tells it."""
    if repeat == 1 or not shown or not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("sending", total=repeat)
        yield lambda: progress.advance(task)


async def _send(
    client: MetaClient,
    path: str,
    next_body: Callable[[], bytes] | None,
    token: str,
    repeat: int,
    tell: bool,
    step: Callable[[], None],
) -> _Sent:
    sent = _Sent()
    async with client:
        for _ in range(repeat):
            number = str(secrets.randbelow(_CHALLENGES))
            try:
                if next_body is not None:
                    exchange = await client.post(path, next_body())
                else:
                    exchange = await client.challenge(path, verify_token=token, challenge=number)
            except PeerError as error:
                sent.fault = str(error)
                break
            sent.exchanges.append(exchange)
            step()
            if tell:
                words = (f"{exchange.status}", f"{exchange.milliseconds:.1f} ms", exchange.http_version)
                out("  ".join((*words, _answer(exchange))).rstrip())
            if next_body is None and exchange.status == 200 and exchange.body != number.encode():
                sent.fault = f"the answer is not the challenge {number}: {exchange.body[:60]!r}"
                break
    if sent.fault:
        err(sent.fault)
    return sent
