"""An event as a person reads it: short time, level, what happened in words, and what the fields say.

On a terminal what does not fit goes on below, indented, so that lines are as wide as the terminal and none of
a stranger's can begin where ours do. Elsewhere an event is one line. Pure.
"""

from collections.abc import Iterator, Mapping, MutableMapping
from datetime import datetime
from textwrap import TextWrapper
from typing import Any, Final

from gateway.telemetry.redaction import visible

LEVEL_CHARACTERS: Final = len("warning")
"""So that what happened stands in one column."""

INDENT: Final = " " * 9
"""Under the level, right of `HH:MM:SS `."""

LONG_CHARACTERS: Final = 48
"""A text with spaces that is longer stands on lines of its own."""

_UNSAID: Final = frozenset({"event", "level", "timestamp", "component", "exception"})
"""Told otherwise, or nothing to a person."""

_RESET: Final = "\x1b[0m"
_DIM: Final = "\x1b[2m"
_COLOURS: Final[Mapping[str, str]] = {
    "debug": _DIM,
    "info": "\x1b[32m",
    "warning": "\x1b[33m",
    "error": "\x1b[1;31m",
}
"""Of levels: dim, green, yellow, bold red."""


def render_console(event: MutableMapping[str, Any], *, colours: bool, width: int | None) -> str:
    """Return an event as text. `width` is the terminal's in characters; None: one line, with the whole time.

    Without `timestamp`, none is told (the journal has its own).
    """
    level = str(event["level"])
    words = visible(str(event["event"]).replace("_", " "))
    time = _time(str(event.get("timestamp", "")), short=width is not None)
    level_in_place = level.ljust(LEVEL_CHARACTERS)
    head = f"{_paint(time, _DIM, colours)}{_paint(level_in_place, _COLOURS.get(level, ''), colours)} {words}"
    taken = len(time) + len(level_in_place) + 1 + len(words)
    told = ((key, value) for key, value in event.items() if _says(key, value, event))
    fields = [(visible(str(key)), _say(value)) for key, value in told]
    if width is None:
        text = "".join(f" {key}={_quoted(value)}" for key, value in fields)
        lines = [head + text]
    else:
        lines = list(_wrapped(head, taken, fields, width, colours=colours))
    trace = str(event.get("exception", ""))
    return "\n".join([*lines, *(INDENT + visible(line) for line in trace.splitlines())])


def _wrapped(
    head: str, taken: int, fields: list[tuple[str, str]], width: int, *, colours: bool
) -> Iterator[str]:
    """Lay out the fields: short ones after each other, long texts each below, by itself."""
    line, used = head, taken
    paragraphs = []
    for key, value in fields:
        if " " in value and len(value) > LONG_CHARACTERS:
            paragraphs.append((key, value))
            continue
        value = _quoted(value)
        if used + 1 + len(key) + 1 + len(value) > width:
            yield line
            line, used = INDENT, len(INDENT) - 1  # its first field has no space before it
        else:
            line += " "
        line += _paint(f"{key}=", _DIM, colours) + value
        used += 1 + len(key) + 1 + len(value)
    yield line
    wrapper = TextWrapper(
        width=max(width, 40),
        initial_indent=INDENT,
        subsequent_indent=INDENT + "  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    for key, value in paragraphs:
        first, *others = wrapper.wrap(f"{key}: {value}")
        yield first.replace(f"{key}:", _paint(f"{key}:", _DIM, colours), 1)
        yield from others


def _time(timestamp: str, *, short: bool) -> str:
    """Return the time as a reader at a terminal has it on the wall, or whole as it is."""
    if not timestamp or not short:
        return f"{timestamp} " if timestamp else ""
    return f"{datetime.fromisoformat(timestamp).astimezone():%H:%M:%S} "


def _says(key: str, value: object, event: Mapping[str, object]) -> bool:
    """Whether a field tells a person something."""
    if key in _UNSAID or (key == "suppressed" and not value):
        return False
    if key == "notification" and "delivery" in event:
        return False  # its id begins with it
    return not (value is None or value is False or value in ("", [], {}))


def _say(value: object) -> str:
    match value:
        case True:
            return "yes"
        case float():
            return f"{value:.6g}"
        case list():
            return ", ".join(_say(item) for item in value)
        case dict():
            return ", ".join(f"{key} {_say(item)}" for key, item in value.items())
        case _:
            return visible(str(value))


def _quoted(value: str) -> str:
    """Keep a text apart from what follows."""
    return f'"{value.replace(chr(34), chr(39))}"' if any(letter in value for letter in ' "=') else value


def _paint(text: str, colour: str, colours: bool) -> str:
    return f"{colour}{text}{_RESET}" if colours and text and colour else text
