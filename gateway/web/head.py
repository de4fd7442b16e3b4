"""Is a request head of HTTP/1.1 beyond doubt? Pure: bytes in, the doubt out.

Two readers that disagree about where a request ends are a hole (request smuggling, RFC 9112 section 11.2), so
whatever can be read in two ways is refused before any parser sees it: line ends other than CRLF, folded
lines, control characters, framing said twice. The parser behind this keeps its own rules; leniency is taken
away here.
"""

import re
from dataclasses import dataclass

_HEAD_END = re.compile(rb"\n\r?\n")
"""As lenient as the most lenient reader (h11): what ends the head for anybody is looked at here."""
_STRAY_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)|(?<!\r)\n")
"""RFC 9110 section 5.5 and RFC 9112 section 2.2: CR, LF and NUL are dangerous, other controls are invalid."""
_REQUEST_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([\x21-\x7e]+) HTTP/([0-9])\.([0-9])")
_DIGITS = re.compile(rb"[0-9]{1,19}")

BAD_REQUEST = 400
HEAD_TOO_LARGE = 431


@dataclass(frozen=True, slots=True)
class HeadFault:
    """Why a head is refused."""

    status: int
    reason: str
    """One word, for the log."""


def find_fault(data: bytes, *, max_head_bytes: int) -> HeadFault | None:
    """Judge what has arrived of a head, and of what follows it.

    None: nothing is wrong as far as it is here. `data` begins with the request line.
    """
    end = _HEAD_END.search(data)
    head = data if end is None else data[: end.end()]
    if len(head) > max_head_bytes:
        return HeadFault(HEAD_TOO_LARGE, "head_too_large")
    if end is None:
        return None
    return _find_ambiguity(head)


def _find_ambiguity(head: bytes) -> HeadFault | None:
    """Judge a complete head: lines first, then what they say about where the body ends."""
    if _STRAY_CONTROL.search(head):
        return HeadFault(BAD_REQUEST, "control_character")
    request_line, *lines = head[:-4].split(b"\r\n")
    match = _REQUEST_LINE.fullmatch(request_line)
    if match is None:
        return HeadFault(BAD_REQUEST, "request_line")
    method, _, major, minor = match.groups()
    if major != b"1" or minor not in b"01":
        return HeadFault(BAD_REQUEST, "version")
    if method == b"CONNECT":
        return HeadFault(BAD_REQUEST, "connect")
    if any(line[:1] in (b" ", b"\t") for line in lines):
        return HeadFault(BAD_REQUEST, "folded_line")
    reason = _doubtful_framing(lines, is_http_1_0=minor == b"0")
    return HeadFault(BAD_REQUEST, reason) if reason else None


def _doubtful_framing(lines: list[bytes], *, is_http_1_0: bool) -> str | None:
    """RFC 9112 section 6.3: what is left to chance about the length of the body."""
    lengths: list[bytes] = []
    encodings: list[bytes] = []
    for line in lines:
        name, _, value = line.partition(b":")
        match name.strip().lower():
            case b"content-length":
                lengths.append(value.strip(b" \t"))
            case b"transfer-encoding":
                encodings.append(value.strip(b" \t").lower())
    if len(lengths) > 1 or not all(_DIGITS.fullmatch(length) for length in lengths):
        return "content_length"
    if encodings and (lengths or is_http_1_0 or encodings != [b"chunked"]):
        return "transfer_encoding"
    return None
