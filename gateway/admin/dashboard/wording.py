"""Numbers, spans and ids as people read them. Pure."""

from datetime import UTC, datetime
from typing import Final

_SPANS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
_YEAR_DAYS: Final = 365.25
_LONG_DAYS: Final = 730
"""From here on years tell more than days."""
_CUT: Final = 20


def span(seconds: float) -> str:
    """Return `12 s`, `5 min`, `2 h 20 min`, `57 d`, `9.1 y`: a second unit where it says something."""
    seconds = max(0, int(seconds))
    days = seconds / 86_400
    if days >= _LONG_DAYS:
        return f"{days / _YEAR_DAYS:.1f} y"
    for (unit, name), (smaller, smaller_name) in zip(_SPANS, (*_SPANS[1:], (0, "")), strict=True):
        if seconds >= unit:
            whole, rest = divmod(seconds, unit)
            more = rest // smaller if smaller and whole < 3 and name in ("d", "h") else 0
            return f"{whole} {name} {more} {smaller_name}" if more else f"{whole} {name}"
    return "0 s"


def relative(at_ms: int, now_ms: int) -> str:
    """Return `12 s ago`, `in 57 d`, `just now`."""
    seconds = (at_ms - now_ms) / 1000
    if abs(seconds) < 1:
        return "just now"
    return f"in {span(seconds)}" if seconds > 0 else f"{span(-seconds)} ago"


def absolute(at_ms: int) -> str:
    """Return `2026-01-02 03:04:05 UTC`."""
    return _moment(at_ms).strftime("%Y-%m-%d %H:%M:%S UTC")


def clock_time(at_ms: int) -> str:
    """Return `03:04`, UTC."""
    return _moment(at_ms).strftime("%H:%M")


def machine_time(at_ms: int) -> str:
    """Return RFC 3339, as HTML's `datetime` wants it."""
    return _moment(at_ms).isoformat(timespec="seconds").replace("+00:00", "Z")


def parse_time(text: object) -> int | None:
    """Read RFC 3339 of our own as Unix milliseconds; None where there is none."""
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return round(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() * 1000)


def number(value: float) -> str:
    """Return `0`, `0.4`, `12`, `1 234`: as many digits as tell something, thousands apart by thin spaces."""
    if value == 0:
        return "0"
    if abs(value) < 0.1:
        return f"{value:.2f}" if abs(value) >= 0.01 else "<0.01"
    text = f"{value:.1f}" if abs(value) < 10 and value != int(value) else f"{round(value):,}"
    return text.replace(",", "\u202f")


def rate(per_second: float | None) -> str:
    """Return `12/s`, or by the minute what is rare; a dash where nothing is known."""
    if per_second is None:
        return "\u2013"
    if 0 < per_second < 0.1:
        return f"{number(per_second * 60)}/min"
    return f"{number(per_second)}/s"


def latency(seconds: float) -> str:
    """Return `3.2 ms`, `1.2 s`."""
    return f"{number(seconds)} s" if seconds >= 1 else f"{number(round(seconds * 1000, 1))} ms"


def interval(seconds: float) -> str:
    """Return `340 ms`, `1.2 s`, `5 min`: a time between two events; `\u22122 s` where clocks differ."""
    if seconds < 0:
        return f"\u2212{interval(-seconds)}"
    return span(seconds) if seconds >= 10 else latency(seconds)


def cut(text: str, length: int = _CUT) -> str:
    """Leave out the middle of what is longer: both ends of an id tell it apart."""
    if len(text) <= length:
        return text
    head = length // 2
    return f"{text[:head]}\u2026{text[len(text) - (length - 1 - head) :]}"


def plural(count: int, one: str, many: str | None = None) -> str:
    """Return `1 target`, `3 targets`."""
    return f"{number(count)} {one if count == 1 else many or one + 's'}"


def _moment(at_ms: int) -> datetime:
    try:
        return datetime.fromtimestamp(at_ms / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0, UTC)
