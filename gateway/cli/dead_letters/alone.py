"""Dealing with dead letters where no gateway runs on this directory: on its spool, with its lock.

Of a spool that others share, what lies with another gateway is done there, if that one answers.
"""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio

from gateway.cli.dead_letters.report import Report
from gateway.clock import unix_ms

if TYPE_CHECKING:
    from gateway.admin.actions import ActionResult
    from gateway.delivery.dead_letter import DeadLetterStore
    from gateway.delivery.replay import Known, Replayer, Result
    from gateway.process.correspondence import Correspondence
    from gateway.settings.model import Settings

Chunks = Iterator[list[str]]


def replay_alone(settings: "Settings", accept_edited: bool, chunks: Chunks, report: Report) -> None:
    """Store letters again: each in the file where a delivery of it waits, else in the first."""
    from gateway.cli.stopped_spool import open_stopped_spool
    from gateway.delivery.replay import Replayer, homes, ids_again

    store, known = _sealed_store(settings), _known(settings)

    async def run() -> None:
        async with open_stopped_spool(settings) as files:
            replayers = {
                number: Replayer(spool=spool, store=store, known=lambda: known, now_ms=unix_ms)
                for number, spool in files.items()
            }
            for chunk in chunks:
                _record(settings, "replay", chunk, accept_edited=accept_edited)
                again = ids_again(chunk, known.targets)
                waiting = {
                    number: (await spool.kept_states(tuple(again))).waiting for number, spool in files.items()
                }
                for number, ids in homes(again, waiting, first=0).items():
                    _tell(report, await replayers[number].replay(ids, accept_edited=accept_edited))

    trio.run(run)


def rehearse_alone(settings: "Settings", accept_edited: bool, chunks: Chunks, report: Report) -> None:
    """Say what a replay would do."""
    from gateway.delivery.replay import rehearse

    store, known = _sealed_store(settings), _known(settings)
    for chunk in chunks:
        _tell(report, rehearse(store, chunk, known=known, accept_edited=accept_edited))


def discard_alone(settings: "Settings", chunks: Chunks, report: Report) -> None:
    """Remove letters for good."""
    from gateway.delivery.dead_letter import DeadLetterStore
    from gateway.delivery.replay import discard

    store = DeadLetterStore(settings.dead_letter.directory, b"")
    for chunk in chunks:
        _record(settings, "discard", chunk)
        _tell(report, discard(store, chunk))


def do_with_others(
    settings: "Settings", action: str, content: Mapping[str, Any], chunks: Chunks, report: Report
) -> None:
    """Replay, rehearse or discard letters of a spool that is shared, each where it lies."""
    from gateway.process.elsewhere import results_of_all

    async def run() -> None:
        async with _opened(settings) as (replayer, others):
            for chunk in chunks:
                if action != "rehearse":
                    _record(settings, action, chunk, **content)
                done = await getattr(replayer, action)(chunk, **content)
                results = await results_of_all(others, action, _shown(done), **content)
                for name, result in results.items():
                    report.add(name, result.result, result.detail)

    trio.run(run)


def read_with_others(settings: "Settings", identifier: str) -> Mapping[str, Any]:
    """Return a letter of a spool that is shared, from where it lies: `admin.actions.Actions.read_letter`."""
    from gateway.listing import shown_letter
    from gateway.process.elsewhere import letter_of_all

    async def run() -> Mapping[str, Any]:
        async with _opened(settings) as (replayer, others):
            own = shown_letter(await replayer.open(identifier), directory=settings.dead_letter.directory)
            return await letter_of_all(others, identifier, own)

    return trio.run(run)


@asynccontextmanager
async def _opened(settings: "Settings") -> AsyncIterator[tuple["Replayer", "Correspondence"]]:
    from gateway.cli.stopped_spool import open_stopped_spool, spool_with_dsn
    from gateway.delivery.replay import Replayer
    from gateway.delivery.shared_letters import SharedLetters
    from gateway.process.visiting import visit_others

    store, known = _sealed_store(settings), _known(settings)
    async with open_stopped_spool(settings) as files, visit_others(spool_with_dsn(settings.spool)) as others:
        spool = files[0]
        if spool.letters is None:
            raise TypeError("a spool that nobody shares")
        shared = SharedLetters(store, spool.letters, now_ms=unix_ms)
        await shared.take_key()
        yield (
            Replayer(spool=spool, store=store, known=lambda: known, now_ms=unix_ms, shared=shared),
            others,
        )


def _tell(report: Report, results: "Mapping[str, Result]") -> None:
    for name, result in results.items():
        report.add(name, str(result.word), result.detail)


def _shown(results: "Mapping[str, Result]") -> dict[str, "ActionResult"]:
    from gateway.admin.actions import ActionResult

    return {name: ActionResult(result=one.word.value, detail=one.detail) for name, one in results.items()}


def _record(settings: "Settings", action: str, ids: list[str], **fields: object) -> None:
    from gateway.telemetry.audit import FILE_NAME, AuditLog

    AuditLog(settings.spool.directory.parent / FILE_NAME).record(action, by="command", ids=ids, **fields)


def _known(settings: "Settings") -> "Known":
    from gateway.delivery.replay import Known
    from gateway.settings.routes import routing_table

    return Known(
        apps=frozenset(settings.apps), targets=frozenset(settings.targets), table=routing_table(settings)
    )


def _sealed_store(settings: "Settings") -> "DeadLetterStore":
    from gateway.delivery.dead_letter import DeadLetterStore
    from gateway.delivery.seal_key import FILE_NAME, read_seal_key

    key = read_seal_key(settings.spool.directory.parent / FILE_NAME)
    return DeadLetterStore(settings.dead_letter.directory, key)
