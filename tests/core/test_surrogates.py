"""Halves of surrogate pairs: a cut emoji makes no dead letter, and comes out as it went in."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.envelope import Envelope, Unparseable, cut, parse_envelope
from gateway.core.surrogates import mend


def envelope(*texts: str) -> bytes:
    changes = ",".join(f'{{"field":"f{n}","value":{{"text":"{text}"}}}}' for n, text in enumerate(texts))
    return f'{{"object":"page","entry":[{{"id":"1","changes":[{changes}]}}]}}'.encode()


@pytest.mark.parametrize(
    "text",
    [
        r"\ud83d",
        r"a\uD83D b",
        r"\ude00",
        r"\ude00\ud83d",
        r"\ud83d\ud83d\ude00",
        r"\ud83d\u0041",
        r"\\\ud83d",
    ],
)
def test_a_text_with_a_half_is_read_and_cut_like_any_other(text: str) -> None:
    raw = envelope(text, "b", text + text)
    parsed = parse_envelope(raw)
    assert isinstance(parsed, Envelope)
    assert [change.field for change in parsed.changes] == ["f0", "f1", "f2"]
    assert cut(raw, [0]) == envelope(text)
    assert cut(raw, [1]) == envelope("b").replace(b"f0", b"f1")
    assert cut(raw, [0, 1, 2]) is raw


def test_a_half_behind_a_shape_that_the_typed_reader_leaves_alone_is_read_too() -> None:
    """An id that is a number, or an item of Messenger's: then the patient reader meets the half."""
    for entry in (
        rb'{"id":1,"changes":[{"field":"a","value":"\ud83d"}]}',
        rb'{"messaging":[{"x":"\ud83d"}]}',
    ):
        parsed = parse_envelope(rb'{"object":"page","entry":[%b]}' % entry)
        assert isinstance(parsed, Envelope)
        assert len(parsed.changes) == 1


def test_a_half_in_a_field_is_read_alike_whatever_else_is_in_the_body() -> None:
    """Its stand-in is another where the usual one is in use; what is read is not."""
    change = rb'{"field":"x\ud83d"}'
    fields = []
    for other in (b"", "\ue000".encode(), rb"\ue000\ue001"):
        parsed = parse_envelope(rb'{"entry":[{"id":"%b","changes":[%b]}]}' % (other, change))
        assert isinstance(parsed, Envelope)
        fields.append(parsed.changes[0].field)
    assert fields == ["x\ufffd"] * 3


def test_a_half_in_a_name_stays_too() -> None:
    raw = rb'{"\ud83d":1,"entry":[{"x\udfffy":2,"changes":[{"field":"a"},{"field":"b"}]}]}'
    assert cut(raw, [1]) == rb'{"\ud83d":1,"entry":[{"x\udfffy":2,"changes":[{"field":"b"}]}]}'


def test_stand_ins_that_are_in_use_are_passed_over() -> None:
    used = envelope(r"\ue000\uE001 \ud83d", "\ue002")
    assert cut(used, [0]) == envelope(r"\ue000\uE001 \ud83d")
    mended = mend(used)
    assert mended is not None
    assert set(mended.halves) == {0xE003}


@pytest.mark.parametrize(
    "text", ["", "a", r"\ud83d\ude00", r"\\ud83d", r"\\\\ud83d", r"\u00e4", "\U0001f600"]
)
def test_where_there_is_no_half_nothing_is_mended(text: str) -> None:
    assert mend(envelope(text)) is None


def test_more_halves_than_stand_ins_are_a_dead_letter_and_no_crash() -> None:
    """2048 halves in four spellings: more than the private use area holds, and nobody's message."""
    spellings = [
        f"\\u{d}{rest}"
        for d in "dD"
        for half in range(0x800, 0x1000)
        for rest in (f"{half:03x}", f"{half:03X}")
    ]
    raw = envelope(" ".join(spellings))
    assert mend(raw) is None
    assert isinstance(parse_envelope(raw), Unparseable)


class Watched(bytes):
    """Counts how often it is walked over as a whole."""

    walks = 0

    def __contains__(self, part: object) -> bool:
        Watched.walks += 1
        return super().__contains__(part)  # type: ignore[operator]  # what else it may be, bytes refuse

    def replace(self, *arguments: Any) -> "Watched":
        Watched.walks += 1
        return Watched(super().replace(*arguments))

    def lower(self) -> "Watched":
        Watched.walks += 1
        return Watched(super().lower())


@pytest.mark.parametrize("halves", [1, 2000, 6000])
def test_many_different_halves_take_no_more_walks_than_one(halves: int) -> None:
    """A walk for each took half a minute for one body of 3 MiB, on the thread that answers everybody."""
    spellings = [f"\\u{d}{rest:03{x}}" for d in "dD" for rest in range(0x800, 0x1000) for x in "xX"]
    distinct = list(dict.fromkeys(spellings))[:halves]
    assert len(distinct) == halves
    raw = envelope(" ".join(distinct), "b")
    Watched.walks = 0
    mended = mend(Watched(raw))
    assert mended is not None
    assert len(mended.halves) == halves
    assert mended.restore(Watched(mended.raw)) == raw
    assert Watched.walks <= 5
    assert cut(raw, [0]) == envelope(" ".join(distinct))


@given(
    st.lists(
        st.sampled_from(
            [
                b"\\",
                b"\\\\",
                b"\\u",
                b"d83d",
                b"DE00",
                b"\\ud83d",
                b"\\uDE00",
                b"\\ue000",
                b"\\uE001",
                b"\xee",
            ]
            + [text.encode() for text in ("x", '"', "\n", "\ue002", "\uf8ff")]
        ),
        max_size=12,
    ).map(b"".join)
)
def test_what_was_mended_is_restored_byte_for_byte(raw: bytes) -> None:
    mended = mend(raw)
    if mended is not None:
        assert len(mended.raw) == len(raw)
        assert mended.restore(mended.raw) == raw
        assert mend(mended.raw) is None


@given(text=st.text(st.characters(codec=None), max_size=20), other=st.text(max_size=5))
def test_any_text_that_json_can_write_comes_out_as_it_went_in(text: str, other: str) -> None:
    raw = envelope(json.dumps(text)[1:-1], json.dumps(other)[1:-1])
    assert isinstance(parse_envelope(raw), Envelope)
    assert json.loads(cut(raw, [0]))["entry"][0]["changes"][0]["value"]["text"] == text
    assert cut(raw, [0]) == envelope(json.dumps(text)[1:-1])
