"""Judge: what waits for the targets, and why. Pure."""

from collections.abc import Iterator, Mapping

from gateway.doctor.advice import OLDEST_WARNING_SECONDS
from gateway.doctor.finding import Area, Finding, Level, plural, say_ago, say_duration
from gateway.doctor.observed import STATUS, Observations
from gateway.doctor.reading import mapping, number, text, time


def judge_backlog(seen: Observations) -> Iterator[Finding]:
    """What waits, what is paused, whose breaker is open, and what was given up."""
    cut_off = {target.name for target in seen.targets if target.fault}
    """That is said of them, with what waits."""
    for name, target in _targets(seen).items():
        waiting = int(number(target, "pending"))
        if waiting and name not in seen.plan.known_targets:
            yield _lost(name, waiting)
        elif pause := mapping(target.get("pause")):
            yield _paused(name, pause, waiting, seen)
        elif name not in cut_off:
            yield from _failing(name, target, waiting, seen)
        if letters := int(number(target, "dead_letters")):
            yield Finding(
                code="dead_letters",
                level=Level.NOTE,
                area=Area.TARGETS,
                what=f"{name}: {plural(letters, 'dead letter')}",
                remedy=f"gateway dead-letters list --target {name}; replay when its cause is mended",
            )


def paused_targets(seen: Observations) -> frozenset[str]:
    """Return the targets that are paused: nothing is wrong where one of them cannot be reached."""
    return frozenset(name for name, target in _targets(seen).items() if mapping(target.get("pause")))


def say_waiting(name: str, seen: Observations) -> str:
    """Say what a target that cannot be reached has brought about; empty: nothing, or no gateway runs."""
    target = _targets(seen).get(name, {})
    breaker, waiting = mapping(target.get("breaker")), int(number(target, "pending"))
    opened = time(breaker, "opened_at")
    parts = []
    if breaker.get("open") is True:
        parts.append(f"its breaker opened{f' {say_ago(opened, seen.now)}' if opened else ''}")
    if waiting:
        parts.append(f"{_say(waiting)}, the oldest for {say_duration(number(target, 'oldest_seconds'))}")
    return "; ".join(parts)


def _targets(seen: Observations) -> Mapping[str, Mapping[str, object]]:
    """Return what the running gateway says of each; empty where none runs."""
    content = seen.running.content(STATUS) if seen.running is not None else None
    return {name: mapping(value) for name, value in mapping((content or {}).get("targets")).items()}


def _lost(name: str, waiting: int) -> Finding:
    return Finding(
        code="target_lost",
        level=Level.WARNING,
        area=Area.TARGETS,
        what=f"{name}: {_say(waiting)} for a target that the configuration has lost",
        why="they stay in the spool, and nobody delivers them",
        remedy="write the target again, under the same name, until they are delivered",
    )


def _paused(name: str, pause: Mapping[str, object], waiting: int, seen: Observations) -> Finding:
    since, until = time(pause, "from"), time(pause, "until")
    reason = text(pause, "reason")
    return Finding(
        code="target_paused",
        level=Level.NOTE,
        area=Area.TARGETS,
        what=f"{name} is paused{f' since {since:%Y-%m-%d %H:%M}' if since else ''}"
        + (f" until {until:%Y-%m-%d %H:%M} UTC" if until else " until it is resumed")
        + f", {_say(waiting)}",
        why=f"because: {reason}" if reason else "",
        remedy=f"gateway targets resume {name}",
    )


def _failing(name: str, target: Mapping[str, object], waiting: int, seen: Observations) -> Iterator[Finding]:
    breaker, oldest = mapping(target.get("breaker")), number(target, "oldest_seconds")
    opened = time(breaker, "opened_at")
    if breaker.get("open") is True:
        since = f" {say_ago(opened, seen.now)}" if opened else ""
        yield Finding(
            code="target_breaker_open",
            level=Level.WARNING,
            area=Area.TARGETS,
            what=f"{name}: the breaker opened{since}, {_say(waiting)}",
            why="several attempts in a row have failed: only probes are sent, and waiting uses up no attempt",
            remedy="see what the target answers (the log's event delivery_retried); it closes by itself",
        )
    elif waiting and oldest >= OLDEST_WARNING_SECONDS:
        yield Finding(
            code="target_backlog",
            level=Level.WARNING,
            area=Area.TARGETS,
            what=f"{name}: {_say(waiting)}, the oldest for {say_duration(oldest)}",
            why="they are safe on disk, and tried again on its schedule until give_up_after",
            remedy="see what the target answers: the log's event delivery_retried",
        )


def _say(waiting: int) -> str:
    return f"{plural(waiting, 'delivery', 'deliveries')} waiting"
