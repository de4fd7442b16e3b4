"""The verification GET: answered exactly where urllib's reading of the query says so."""

from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote_to_bytes

from gateway.core.challenge import ChallengeAccepted, answer_challenge

TOKEN: Final = b"t\xc3\xb6ken"


class DefectError(AssertionError):
    """A query was judged wrongly."""


def one(data: bytes) -> None:
    """Answer, and compare."""
    found = answer_challenge(data, verify_token=TOKEN)
    pairs = [pair.partition(b"=")[::2] for pair in data.split(b"&")]
    told = [(unquote_to_bytes(name.replace(b"+", b" ")), value) for name, value in pairs]
    values = {
        name: [unquote_to_bytes(value.replace(b"+", b" ")) for other, value in told if other == name]
        for name in (b"hub.mode", b"hub.verify_token", b"hub.challenge")
    }
    if isinstance(found, ChallengeAccepted):
        if [values[b"hub.mode"], values[b"hub.verify_token"]] != [[b"subscribe"], [TOKEN]]:
            raise DefectError(f"accepted: {data!r}")
        if values[b"hub.challenge"] != [found.challenge] or not found.challenge:
            raise DefectError(f"another challenge: {data!r}")
    elif found.status not in (400, 403):
        raise DefectError(f"status {found.status}")


def seeds() -> Iterator[bytes]:
    """Meta's own, and its neighbours."""
    yield b"hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=t%C3%B6ken"
    yield b"x=y&hub.mode=subscribe&hub.verify_token=t%c3%b6ken&hub.challenge=a+b%20c"
    yield b"hub.mode=subscribe&hub.verify_token=wrong&hub.challenge=1"
    yield b"hub.mode=subscribe&hub.mode=subscribe&hub.verify_token=%zz&hub.challenge="
    yield b"hub%2emode=subscribe&hub.verify_token=t%C3%B6ken&hub.challenge=1"
