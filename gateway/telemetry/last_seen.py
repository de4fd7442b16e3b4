"""When an anchor last admitted a client, and a secret last verified a notification: so that an old one can be
removed with confidence.

Confidence needs a memory that outlives a restart ("never since the last deployment" says little), so the
times are kept in a small file beside the spool, written now and again and at the stop. A crash may lose the
last minute, which makes nothing look older than by that minute. A secret stands in it under a digest keyed
with the gateway's own key, not under its index: indexes move when one is taken out, and the new first secret
must not inherit the time of the old.
"""

import hmac
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from gateway.core.identity import Identity
from gateway.telemetry.state_file import read_state

LAST_SEEN: Final = "last-seen"
"""The stem of the file (`state_file`), in the parent directory of the spool's."""
MAX_FILE_BYTES: Final = 256 * 1024
"""Some two thousand times; what is configured is a dozen."""
KEPT: Final = 500
"""Of each kind, the newest: what was configured once stays on record, in case it comes back."""
_DIGITS: Final = 32


def last_seen_of_others(directory: Path) -> tuple[Path, ...]:
    """Return the files of workers beside the first: there may be fewer of them now, and what they saw must
    not be forgotten."""
    return tuple(sorted(directory.glob(f"{LAST_SEEN}-*.json")))


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSeen:
    """The client certificate that was last admitted for an entry."""

    not_after_ms: int
    at_ms: int


class _Stored(msgspec.Struct, forbid_unknown_fields=True):
    """The file: Unix times in milliseconds."""

    anchors: dict[str, int]
    """By client entry and SHA-256."""
    secrets: dict[str, int]
    """By keyed digest of app and secret."""
    clients: dict[str, tuple[int, int]]
    """By client entry: when its certificate ends, and when it was seen."""


_decoder: Final = msgspec.json.Decoder(_Stored)


class LastSeen:
    """The times. What is on the way of a request is one assignment to `secrets`."""

    def __init__(self, *, key: bytes = b"") -> None:
        """`key` is the gateway's own; it makes the digests under which secrets are stored."""
        self._key = key
        self.secrets: dict[tuple[str, bytes], int] = {}
        """(app, secret) -> Unix time in milliseconds. Never shown, never stored."""
        self._anchors: dict[str, int] = {}
        """By client entry and SHA-256: an anchor that several entries hold may be needed by one alone."""
        self._open: Counter[str] = Counter()
        """Connections that an anchor has admitted and that are open: it is in use for as long as they are."""
        self._clients: dict[str, ClientSeen] = {}
        self._stored_secrets: dict[str, int] = {}
        """Of former lives, by digest."""

    def __repr__(self) -> str:
        return "LastSeen()"  # secrets are keys in here

    def admit(self, identity: Identity, now_ms: int) -> None:
        """A client was admitted."""
        seen = ClientSeen(not_after_ms=identity.leaf.not_after_ms, at_ms=now_ms)
        for client, anchor in _anchors_of(identity):
            self._anchors[anchor] = now_ms
            self._open[anchor] += 1
            self._clients[client] = seen

    def leave(self, identity: Identity, now_ms: int) -> None:
        """A connection of an admitted client has ended."""
        for _, anchor in _anchors_of(identity):
            self._anchors[anchor] = now_ms
            self._open[anchor] -= 1

    def touch(self, now_ms: int) -> None:
        """Note which anchors have open connections: one may be open for days. Before times are read."""
        for anchor, connections in self._open.items():
            if connections:
                self._anchors[anchor] = now_ms

    def anchor(self, client: str, sha256: str) -> int | None:
        """When an anchor of a client entry last admitted somebody; Unix, milliseconds."""
        return self._anchors.get(f"{client} {sha256}")

    def secret(self, app: str, secret: bytes) -> int | None:
        """When a secret last verified a notification, in this life or a former one."""
        return self.secrets.get((app, secret)) or self._stored_secrets.get(self._digest(app, secret))

    def clients(self) -> Iterator[tuple[str, ClientSeen]]:
        """Return the last certificate of every client entry that was ever seen."""
        return iter(sorted(self._clients.items()))

    def load(self, path: Path) -> None:
        """Take in what the file holds, where it is the later; where there is none, nothing.

        Raises:
            StateFileError: it cannot be read.
        """
        stored = read_state(path, _decoder, max_bytes=MAX_FILE_BYTES)
        if stored is None:
            return
        self._anchors = _later(stored.anchors, self._anchors)
        self._stored_secrets = _later(stored.secrets, self._stored_secrets)
        former = {
            name: ClientSeen(not_after_ms=not_after_ms, at_ms=at_ms)
            for name, (not_after_ms, at_ms) in stored.clients.items()
        }
        for name, seen in former.items():
            if name not in self._clients or seen.at_ms > self._clients[name].at_ms:
                self._clients[name] = seen

    def content(self) -> bytes:
        """Return what the file should hold."""
        digests = {self._digest(app, secret): at for (app, secret), at in self.secrets.items()}
        stored = {
            "anchors": _newest(self._anchors),
            "secrets": _newest(self._stored_secrets | digests),
            "clients": {name: (one.not_after_ms, one.at_ms) for name, one in self._clients.items()},
        }
        return json.dumps(stored, sort_keys=True, separators=(",", ":")).encode("ascii") + b"\n"

    def _digest(self, app: str, secret: bytes) -> str:
        # A key for this alone is derived from the gateway's: what it signs must not be mistaken for a seal.
        keyed = hmac.digest(self._key, b"last-seen", "sha256")
        return hmac.digest(keyed, app.encode() + b"\0" + secret, "sha256").hex()[:_DIGITS]


def _anchors_of(identity: Identity) -> Iterator[tuple[str, str]]:
    """Return each client entry with the key of its anchor."""
    others = dict(identity.other_anchors)
    for client in identity.clients:
        yield client, f"{client} {others.get(client, identity.anchor_sha256)}"


def _later(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {key: max(one.get(key, 0), other.get(key, 0)) for key in one.keys() | other.keys()}


def _newest(times: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(times.items(), key=lambda one: one[1], reverse=True)[:KEPT])
