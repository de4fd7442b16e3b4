"""An event as a person reads it."""

import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.telemetry.console import INDENT, render_console

ANSI = re.compile(r"\x1b\[[0-9;]*m")


def event(name: str = "request_refused", level: str = "warning", **fields: Any) -> dict[str, Any]:
    return {
        "event": name,
        "level": level,
        "component": "ingress",
        "timestamp": "2026-11-23T06:10:56.623100Z",
    } | fields


def test_on_a_terminal_time_level_words_and_the_fields_that_say_something() -> None:
    text = render_console(
        event(app="main", status=401, detail="", proved=False, suppressed=0, staged=None),
        colours=False,
        width=80,
    )
    assert re.fullmatch(r"\d\d:\d\d:56 warning request refused app=main status=401", text)


def test_elsewhere_one_line_with_the_whole_time() -> None:
    text = render_console(event(remedy="do this, " * 20), colours=False, width=None)
    assert text.startswith("2026-11-23T06:10:56.623100Z warning request refused remedy=")
    assert "\n" not in text


def test_what_does_not_fit_goes_on_below() -> None:
    text = render_console(
        event(
            delivery="019c0000000070008000000000000001-support",
            notification="019c0000000070008000000000000001",
            app="main",
            error="the target answered nothing",
            message="the certificate is one of a development CA, which nobody trusts: Meta would refuse it",
        ),
        colours=False,
        width=80,
    )
    assert text.splitlines()[1:] == [
        INDENT + "delivery=019c0000000070008000000000000001-support app=main",
        INDENT + 'error="the target answered nothing"',
        INDENT + "message: the certificate is one of a development CA, which nobody",
        INDENT + "  trusts: Meta would refuse it",
    ]


def test_lists_counts_and_numbers_in_words() -> None:
    text = render_console(
        event(
            "summary",
            "info",
            refused={"signature": 3, "timeout": 1},
            ack_p50_ms=6.123456,
            proved=True,
            of=["a", "b"],
        ),
        colours=False,
        width=200,
    )
    assert text.endswith(
        'info    summary refused="signature 3, timeout 1" ack_p50_ms=6.12346 proved=yes of="a, b"'
    )


def test_colours_change_nothing_but_colours() -> None:
    one = event(
        status=401, remedy="a long text that stands on lines of its own because it is as long as that"
    )
    plain = render_console(one, colours=False, width=80)
    assert ANSI.sub("", render_console(one, colours=True, width=80)) == plain
    assert "\x1b" not in plain


def test_a_traceback_follows_indented() -> None:
    text = render_console(event(exception="Traceback:\n  \x1b[2J"), colours=False, width=80)
    assert text.splitlines()[1:] == [INDENT + "Traceback:", INDENT + "  \\x1b[2J"]


def test_without_a_time_none_is_told() -> None:
    one = event(status=401)
    del one["timestamp"]
    assert render_console(one, colours=False, width=None) == "warning request refused status=401"


@given(
    st.dictionaries(st.text(min_size=1, max_size=9), st.text(max_size=300), max_size=5),
    st.sampled_from([None, 40, 80]),
)
def test_no_strangers_text_steers_the_terminal_or_begins_a_line(
    fields: dict[str, str], width: int | None
) -> None:
    fields = {f"x{key}": value for key, value in fields.items()}
    first, *others = render_console(event(**fields), colours=False, width=width).split("\n")
    assert first.isprintable()
    assert all(line.isprintable() and line.startswith(INDENT) for line in others)
