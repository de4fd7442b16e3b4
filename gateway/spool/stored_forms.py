"""What rows hold that is no plain value, in either database."""

import zlib
from typing import Any, Final

import msgspec

from gateway.core.lanes import Lane
from gateway.spool.contract import Kept, NewDelivery

_TAKEN: Final = msgspec.json.Decoder(list[tuple[str, str, str | None, int, int]])


def selection_text(selection: tuple[int, ...] | None) -> str | None:
    """Return how positions are stored."""
    return None if selection is None else ",".join(map(str, selection))


def selection_of(text: str | None) -> tuple[int, ...] | None:
    """Return positions from their stored form."""
    if text is None:
        return None
    return tuple(map(int, text.split(","))) if text else ()


def kept_of(row: Any, raw: bytes | None) -> Kept:
    """Return what a row of `kept_page` and its body, where that is there, say."""
    received_ms, seq, notification_id, app, crc32, _, taken = row
    return Kept(
        place=(received_ms, seq),
        notification_id=notification_id,
        app=app,
        received_at_ms=received_ms,
        raw=raw if raw is not None and zlib.crc32(raw) == crc32 else None,
        taken=tuple(
            NewDelivery(
                id=id_, target=target, selection=selection_of(chosen), changes=changes, lane=Lane(lane)
            )
            for id_, target, chosen, changes, lane in _TAKEN.decode(taken)
        ),
    )
