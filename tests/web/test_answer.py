"""Answers: framed as HTTP wants it, whatever an app says."""

from typing import Any

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.web.answer import AnswerError, AnswerWriter, refusal


def _write(
    *bodies: bytes,
    status: int = 200,
    headers: Any = (),
    method: str = "GET",
    is_http_1_1: bool = True,
    is_last: bool = False,
) -> tuple[list[bytes], AnswerWriter]:
    writer = AnswerWriter(is_head=method == "HEAD", is_http_1_1=is_http_1_1)
    start = {"type": "http.response.start", "status": status, "headers": headers}
    pieces = [writer.write(start, is_last=is_last)]
    for place, body in enumerate(bodies, 1):
        message = {"type": "http.response.body", "body": body, "more_body": place < len(bodies)}
        pieces.append(writer.write(message, is_last=is_last))
    return pieces, writer


def _read(data: bytes, method: str = "GET") -> tuple[int, dict[bytes, bytes], bytes]:
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("host", "a")]))
    client.send(h11.EndOfMessage())
    client.receive_data(data)
    client.receive_data(b"")
    response = client.next_event()
    assert isinstance(response, h11.Response)
    body = b""
    while isinstance(event := client.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert client.trailing_data[0] == b""
    headers = dict(response.headers)
    assert headers.pop(b"date").endswith(b" GMT")
    return response.status_code, headers, body


def test_head_and_body_are_one_write() -> None:
    pieces, writer = _write(b"abc", headers=[(b"X-A", b"b")])
    assert pieces[0] == b""
    assert _read(pieces[1]) == (200, {b"x-a": b"b", b"content-length": b"3"}, b"abc")
    assert (writer.is_whole, writer.is_last) == (True, False)


@given(bodies=st.lists(st.binary(max_size=50), min_size=1, max_size=5), is_http_1_1=st.booleans())
def test_any_body_is_read_back(bodies: list[bytes], is_http_1_1: bool) -> None:
    pieces, writer = _write(*bodies, is_http_1_1=is_http_1_1)
    assert _read(b"".join(pieces))[2] == b"".join(bodies)
    # In HTTP/1.0 the end of the connection may be all that ends it.
    assert writer.is_last == (not is_http_1_1 and len(bodies) > 1)


@pytest.mark.parametrize("bodies", [[b"abc"], [b"a", b"bc"], [b""]])
@pytest.mark.parametrize(("status", "method"), [(200, "HEAD"), (204, "GET"), (304, "GET")])
def test_what_has_no_body_gets_none(bodies: list[bytes], status: int, method: str) -> None:
    pieces, _ = _write(*bodies, status=status, method=method)
    assert b"".join(pieces).endswith(b"\r\n\r\n")
    _, headers, body = _read(b"".join(pieces), method)
    assert body == b""
    assert (b"content-length" in headers) == (method == "HEAD" and len(bodies) == 1)


def test_a_head_request_is_told_the_length_that_the_app_tells() -> None:
    pieces, _ = _write(b"", headers=[(b"content-length", b"10")], method="HEAD")
    assert _read(b"".join(pieces), "HEAD")[1] == {b"content-length": b"10"}


def test_a_last_answer_says_so_once() -> None:
    for headers in ([], [(b"connection", b"close")]):
        pieces, writer = _write(b"", headers=headers, is_last=True)
        assert pieces[1].count(b"connection: close\r\n") == 1
        assert writer.is_last
    pieces, writer = _write(b"", headers=[(b"Connection", b"Close")])
    assert pieces[1].count(b"connection: close\r\n") == 1
    assert writer.is_last


def test_an_app_does_not_frame() -> None:
    pieces, _ = _write(b"a", b"b", headers=[(b"transfer-encoding", b"gzip"), (b"date", b"x")])
    assert _read(b"".join(pieces)) == (200, {b"transfer-encoding": b"chunked"}, b"ab")


@pytest.mark.parametrize(
    "header",
    [
        (b"a", b"b\r\nc: d"),
        (b"a", b"b\nc"),
        (b"a", b"\x00"),
        (b"a", b" b"),
        (b"a", b"b "),
        (b"a b", b"c"),
        (b"a:", b"c"),
        (b"", b"c"),
        (b"content-length", b"+1"),
        (b"content-length", b""),
    ],
)
def test_a_header_that_could_split_an_answer_is_not_sent(header: tuple[bytes, bytes]) -> None:
    with pytest.raises(AnswerError):
        _write(b"a", headers=[header])


@pytest.mark.parametrize("bodies", [[b"ab"], [b""], [b"a", b"b"], [b"", b""]])
def test_a_length_is_kept(bodies: list[bytes]) -> None:
    with pytest.raises(AnswerError):
        _write(*bodies, headers=[(b"content-length", b"1")])
    with pytest.raises(AnswerError):
        _write(*bodies, headers=[(b"content-length", b"2"), (b"content-length", b"2")])


@pytest.mark.parametrize("status", [0, 100, 101, 199, 1000])
def test_only_final_answers(status: int) -> None:
    with pytest.raises(AnswerError):
        _write(b"", status=status)


def test_messages_have_an_order() -> None:
    start: dict[str, Any] = {"type": "http.response.start", "status": 200}
    body: dict[str, Any] = {"type": "http.response.body"}
    for *before, wrong in (
        [body],
        [start, start],
        [start, body, body],
        [start, body, start],
        [{"type": "x"}],
    ):
        writer = AnswerWriter(is_head=False, is_http_1_1=True)
        for message in before:
            writer.write(message, is_last=False)
        with pytest.raises(AnswerError):
            writer.write(wrong, is_last=False)


def test_a_refusal_is_a_whole_answer() -> None:
    assert _read(refusal(431)) == (431, {b"content-length": b"0", b"connection": b"close"}, b"")
