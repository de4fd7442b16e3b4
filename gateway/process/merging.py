"""What several say, made one: the workers of a gateway, or the gateways on one database.

Counts are added, of times the oldest or the newest tells, and a target is as it is where it is worst. What
all see whole is not added: what waits in a spool that they share. Pure; the shapes are `admin.reports`'.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from gateway.admin.health import Check
from gateway.core.conditions import TargetSeen

NEWEST_REFUSALS: Final = 200
"""As many as one process keeps."""
_WORSE: Final = ("delivering", "recovering", "open", "paused", "unknown")
"""Of the states of a target, what is told where the workers differ: the last."""
_WAITING: Final = ("pending", "pending_bytes")

Answers = Sequence[Mapping[str, Any]]


def merge_health(
    said: Mapping[int, Mapping[str, Check]], *, total: int, draining: bool, reload_refused: str
) -> Mapping[str, Check]:
    """Make one `/readyz` of several: all is well where all is well with one worker; the others are told."""
    ready = [number for number, checks in said.items() if all(check.ok for check in checks.values())]
    names = {name: None for checks in said.values() for name in checks} or {"listener": None}
    told = {
        name: "; ".join(
            f"worker {number}: {checks[name].detail}"
            for number, checks in said.items()
            if name in checks and checks[name].detail
        )
        for name in names
    }
    merged = {
        name: Check(
            ok=bool(ready) or (bool(said) and all(name in one and one[name].ok for one in said.values())),
            detail=detail or ("" if said else "no worker serves"),
        )
        for name, detail in told.items()
    }
    return {
        **merged,
        "draining": Check(ok=not draining, detail="about to stop" if draining else ""),
        "configuration": Check(ok=True, detail=reload_refused),
        "workers": Check(
            ok=bool(ready), detail="" if len(ready) == total else f"{len(ready)} of {total} serve"
        ),
    }


def merge_status(
    said: Answers, dead_letters: Mapping[str, int], *, shared_spool: bool = False
) -> dict[str, Any]:
    """Make one status of several; in all but the targets, the first has the word. Who shares a spool sees all
    that waits, up to a second late: the most is told, and nothing added."""
    waiting = _most_waiting if shared_spool else _all_waiting
    names = {name: None for one in said for name in one["targets"]} | dict.fromkeys(dead_letters)
    targets = {}
    for name in names:
        parts = [one["targets"][name] for one in said if name in one["targets"]]
        targets[name] = {
            **worst(parts),
            **waiting(parts),
            "oldest_seconds": max((part["oldest_seconds"] for part in parts), default=0.0),
            # RFC 3339, UTC: text sorts.
            "next_attempt_at": min(
                filter(None, (part.get("next_attempt_at") for part in parts)), default=None
            ),
            **_last_error(parts),
            "dead_letters": dead_letters.get(name, 0),
            **_doing(parts),
        }
    return {**(said[0] if said else {}), "targets": targets}


def most_dead(said: Answers) -> dict[str, int]:
    """Return the dead letters of those who share a list of them: the most is told, and nothing added."""
    dead: dict[str, int] = {}
    for one in said:
        for name, target in one["targets"].items():
            dead[name] = max(dead.get(name, 0), target["dead_letters"])
    return dead


def _all_waiting(parts: Answers) -> dict[str, int]:
    return {key: sum(part.get(key, 0) for part in parts) for key in _WAITING}


def _most_waiting(parts: Answers) -> dict[str, int]:
    most = max(parts, key=lambda part: tuple(part.get(key, 0) for key in _WAITING), default={})
    return {key: most.get(key, 0) for key in _WAITING}


def _doing(parts: Answers) -> dict[str, Any]:
    """Return how a target is doing in all workers (RFC 3339, UTC: text sorts)."""
    give_ups = [part["next_give_up_at"] for part in parts if part.get("next_give_up_at")]
    delivered = [part["last_delivered_at"] for part in parts if part.get("last_delivered_at")]
    return {
        "delivered": sum(part.get("delivered", 0) for part in parts),
        "last_delivered_at": max(delivered, default=None),
        "next_give_up_at": min(give_ups, default=None),
    }


def worst(parts: Answers) -> dict[str, Any]:
    """Return the view where the target is worst."""
    return dict(sorted(parts, key=_badness)[-1]) if parts else {}


def _last_error(parts: Answers) -> dict[str, Any]:
    """Return the latest of all (RFC 3339, UTC: text sorts)."""
    errors = [part["last_error"] for part in parts if part.get("last_error")]
    return {"last_error": max(errors, key=lambda error: str(error["at"]))} if errors else {}


def _badness(part: Mapping[str, Any]) -> int:
    state = part.get("state")
    return _WORSE.index(state) if state in _WORSE else -1


def merge_edges(said: Answers) -> dict[str, Any]:
    """Make one report of several (`admin.reports.EdgeReport`)."""
    return {
        **said[0],
        "anchors": _latest(said, "anchors", ("client", "sha256"), "last_seen_at"),
        "secrets": _latest(said, "secrets", ("app", "index"), "last_used_at"),
        "certificates": _certificates(said),
        "apps": {
            name: {
                **app,
                "recent": {
                    key: sum(one["apps"][name]["recent"][key] for one in said if name in one["apps"])
                    for key in app["recent"]
                },
            }
            for name, app in said[0]["apps"].items()
        },
        "refusals": sorted(
            (refusal for one in said for refusal in one["refusals"]),
            key=lambda one: str(one["at"]),
            reverse=True,
        )[:NEWEST_REFUSALS],
    }


def _certificates(said: Answers) -> list[Mapping[str, Any]]:
    """Of what clients have shown the newest; of what is configured, where it differs, what ends first."""
    found: dict[str, Mapping[str, Any]] = {}
    for row in (row for one in said for row in one["certificates"]):
        name, before = str(row["name"]), found.get(row["name"])
        later = before is not None and row["not_after"] > before["not_after"]
        if before is None or later is name.startswith("client:"):
            found[name] = row
    return list(found.values())


def _latest(said: Answers, name: str, key: Iterable[str], time: str) -> list[Mapping[str, Any]]:
    """Of each thing that several tell of, take the word of the latest (RFC 3339, UTC: text sorts)."""
    found: dict[tuple[object, ...], Mapping[str, Any]] = {}
    for one in said:
        for row in one[name]:
            identity = tuple(row[part] for part in key)
            if identity not in found or (row[time] or "") > (found[identity][time] or ""):
                found[identity] = row
    return list(found.values())


def merge_targets_seen(parts: Iterable[Sequence[TargetSeen]]) -> list[TargetSeen]:
    """Make one of how several see their targets: what waits is everybody's, a breaker is each one's own."""
    found: dict[str, TargetSeen] = {}
    for one in (one for part in parts for one in part):
        before = found.get(one.name)
        found[one.name] = one if before is None else _worse_of(before, one)
    return list(found.values())


def _worse_of(one: TargetSeen, other: TargetSeen) -> TargetSeen:
    opened = [part for part in (one, other) if part.opened_at_ms is not None and part.state != "paused"]
    worse = min(opened, key=lambda part: part.opened_at_ms or 0, default=one)
    delivered = [part.last_delivered_ms for part in (one, other) if part.last_delivered_ms is not None]
    return msgspec.structs.replace(worse, last_delivered_ms=max(delivered, default=None))
