"""What the admin port does on request, as promises: `gateway.operations` keeps them for one process,
`gateway.process.gathering` for several."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.admin.requests import LettersRequest, ReplayKeptRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionResult:
    """What became of one dead letter."""

    result: str
    """One word: `replayed`, `discarded`, `not_found`, ..."""
    detail: str = ""


class Actions(Protocol):
    """What the admin port does on request. Each action puts itself on the audit log before it acts."""

    async def status(self) -> Mapping[str, object]:
        """Return counts, fit for JSON: `{"targets": {NAME: {"pending": 0, "oldest_seconds": 0.0}}, ...}`.

        Where several gateways share a database it is of all of them, and there is

            "gateways": [{"gateway": "HOST:PROCESS", "own": bool, "state": "answers" | "no_answer" | "silent",
                          "version", "directory", "started_at", "last_heard_at", "silent_seconds": float}]

        The one that was asked is `own`; `silent` was not heard of for ten seconds or more. A target has
        `gateways`, too, where they see it differently: `{"gateway", "state", "breaker", "last_error",
        "delivered", "last_delivered_at"}` of each that answers.
        """
        ...

    async def trace(self, text: str) -> Mapping[str, object]:
        """Follow a notification (its id, or a delivery's), or find those whose body holds a message id.

            {"asked": TEXT,
             "notifications": [{"notification", "app", "received_at", "worker": int | null, "gateway",
                                "client_certificate": "accepted" | "refused" | "none" | null,
                                "connection", "bytes": int | null,
                                "deliveries": [{"delivery", "target", "state", "attempt": int | null,
                                    "attempts": [{"number", "at", "status", "error", "duration_ms"}],
                                    "next_attempt_at", "delivered_at", "status": int | null, "kept": bool,
                                    "dead_letter": PATH | null, "reason", "died_at", "gateway"}]}],
             "searched": null | {"bodies": int, "dead_letters": int, "complete": bool},
             "gateways": [GATEWAY], "remark": TEXT}

        `state` is `waiting`, `waits_for_another`, `under_way`, `delivered`, `dead_letter`, or `gone`: it was
        for this target, and is neither in the spool nor a dead letter. `attempts` are those that failed.
        Null is what is not known any more. Where several gateways share a database, `gateway` names who has
        accepted the notification, delivered it, or has the dead letter; `gateways` are as in `status`.

        Raises UsageError: it can be no id.
        """
        ...

    async def pause(self, target: str, *, seconds: float | None, reason: str) -> Mapping[str, object]:
        """Leave a target alone, for so long or until it is resumed; return how it is then."""
        ...

    async def resume(self, target: str, *, rate_per_second: float | None) -> Mapping[str, object]:
        """Deliver to a target again, gradually if asked to; return how it is then."""
        ...

    async def discard_target(self, target: str, *, limit: int) -> Mapping[str, object]:
        """Make dead letters of what waits for a target that the configuration has lost, about `limit` of it.

        Returns `{"discarded": 100, "left": 23}`; nothing discarded and some left: those are under way.
        """
        ...

    async def replay_kept(self, asked: ReplayKeptRequest) -> Mapping[str, object]:
        """Send again about `limit` of what was delivered and is kept, from `after` on.

        Returns `{"counts": {WORD: 3}, "after": [...], "reached_ms": UNIX}`; `after` null: that was all.
        """
        ...

    async def replay(self, ids: Sequence[str], *, accept_edited: bool) -> Mapping[str, ActionResult]:
        """Store dead letters again; a result for each id."""
        ...

    async def rehearse(self, ids: Sequence[str], *, accept_edited: bool) -> Mapping[str, ActionResult]:
        """Say what `replay` would do; a result for each id."""
        ...

    async def list_letters(self, asked: LettersRequest) -> Mapping[str, object]:
        """List dead letters that gateways share: see `gateway.listing.ask_letters`.

        Raises UsageError: no other gateway shares the spool, so that the directory tells.
        """
        ...

    async def read_letter(self, identifier: str) -> Mapping[str, object]:
        """Return one of these, with its body.

            {"result": "found", "detail": "", "file": PATH, "letter": {as in the file}}

        Another result is a word of `gateway.delivery.replay.Word`. Raises as `list_letters`.
        """
        ...

    async def discard(self, ids: Sequence[str]) -> Mapping[str, ActionResult]:
        """Remove dead letters for good; a result for each id."""
        ...
