"""What operators did, as the audit log has it, in words. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gateway.admin.dashboard import wording
from gateway.admin.dashboard.verdict import Level

_SPEAKS_FOR_ITSELF: Final = frozenset({"result", "problems", "target"})
"""Keys of the audit log whose values need no name."""
_OF_A_CHANGE: Final = ("at", "action", "by", "ids", "gateway")
"""Keys of the audit log that have a place of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeRow:
    """One line of the audit log."""

    at_ms: int | None
    action: str
    by: str
    level: Level
    says: str
    ids: tuple[str, ...]
    gateway: str


def change_rows(lines: Sequence[Mapping[str, Any]]) -> Iterable[ChangeRow]:
    """Return what the audit log tells, the newest first."""
    for line in reversed(lines):
        rest = {key: value for key, value in line.items() if key not in _OF_A_CHANGE}
        ids = line.get("ids")
        refused = bool(rest.get("problems")) or rest.get("success") is False
        yield ChangeRow(
            at_ms=wording.parse_time(line.get("at")),
            action=str(line.get("action", "")).replace("_", " "),
            by=str(line.get("by", "")).replace("_", " "),
            level=Level.WATCH if refused else Level.IDLE,
            says="; ".join(_says(key, value) for key, value in rest.items() if _is_told(value)),
            ids=tuple(map(str, ids)) if isinstance(ids, list) else (),
            gateway=str(line.get("gateway") or ""),
        )


def _says(key: str, value: object) -> str:
    if key == "seconds" and isinstance(value, int | float):
        return f"for {wording.span(value)}"
    return _told(value) if key in _SPEAKS_FOR_ITSELF else f"{key.replace('_', ' ')} {_told(value)}"


def _is_told(value: object) -> bool:
    return value not in (None, "", [], {}, False)


def _told(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(_told, value))
    if isinstance(value, dict):
        return ", ".join(f"{key} {_told(item)}" for key, item in value.items() if _is_told(item))
    return "yes" if value is True else str(value)
