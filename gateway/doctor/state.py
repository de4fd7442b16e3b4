"""Judge: what the running gateway says of itself. Pure."""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from gateway.doctor.finding import Area, Finding, Level, say_ago
from gateway.doctor.observed import CONFIG, EDGE, READY, Answer, Observations, Running
from gateway.doctor.reading import mapping, mappings, text, texts, time
from gateway.doctor.trust import out_of_term
from gateway.errors import RESTART_REMEDY, Problem

_TOLD_BELOW: Final = {"certificates": READY, "configuration": CONFIG}
"""Checks of `/readyz` whose remarks are findings of their own, where these addresses answer."""

_DENIED: Final = re.compile(r"\(Permission denied\)|cannot be written to")
_UNKNOWN: Final = 404

_EARLIER: Final = {EDGE: "when anchors last admitted somebody, refusals", CONFIG: "what was loaded, and when"}
"""Addresses that earlier versions have not, and what is missing then."""


def judge_gateway(seen: Observations) -> Iterator[Finding]:
    """Is it there, is it well, has it what is in the file?"""
    yield from _judge_files(seen)
    running = seen.running
    if running is None:
        yield _not_running(seen)
        return
    if not running.content(READY):
        yield _no_gateway(running.answers.get(READY), seen)
        return
    yield from _judge_readiness(running, seen)
    yield from _judge_loaded(running, seen)
    missing = {path: told for path, told in _EARLIER.items() if running.content(path) is None}
    if missing:
        yield Finding(
            code="gateway_older",
            level=Level.NOTE,
            area=Area.GATEWAY,
            what="the running gateway does not tell " + ", nor ".join(missing.values()),
            why="it is of an earlier version than this command"
            if all(path in running.answers and running.answers[path].status == _UNKNOWN for path in missing)
            else "it did not answer in time, or refused",
            remedy="restart it: the version that is installed runs then",
        )


def _no_gateway(answer: Answer | None, seen: Observations) -> Finding:
    """Something listens on the admin port, and does not answer as a gateway does."""
    if answer is None or not answer.status:
        return Finding(
            code="admin_port_hangs",
            level=Level.PROBLEM,
            area=Area.GATEWAY,
            what=f"what listens at {seen.plan.admin} does not answer",
            why=answer.fault if answer is not None else "",
            remedy="if it is the gateway, it hangs: see its log and its load, and restart it",
        )
    return Finding(
        code="admin_port_strange",
        level=Level.PROBLEM,
        area=Area.GATEWAY,
        what=f"what listens at {seen.plan.admin} is no gateway: /readyz answered {answer.status}",
        remedy="see what listens there (ss -ltnp), or correct admin.address",
    )


def _judge_files(seen: Observations) -> Iterator[Finding]:
    for problem in seen.plan.problems:
        if _is_told_below(problem, seen):
            continue
        if seen.disk.owner and _DENIED.search(problem.message):
            yield Finding(
                code="not_readable_as_this_user",
                level=Level.NOTE,
                area=Area.GATEWAY,
                what=f"{problem.key_path}: {problem.message}",
                why="that is this user's case; the gateway's may be another",
                remedy=f"run as: sudo -u {seen.disk.owner} {seen.plan.command('doctor')}",
            )
            continue
        place = f"{problem.file}:{problem.line}:{problem.column}" if problem.line else str(problem.file)
        yield Finding(
            code="check",
            level=Level.PROBLEM,
            area=Area.GATEWAY,
            what=f"{problem.key_path}: {problem.message}" if problem.key_path else problem.message,
            why="as it is, the gateway would not start",
            remedy=problem.remedy,
            facts=(("where", place),),
        )


def _is_told_below(problem: Problem, seen: Observations) -> bool:
    """A certificate that is out of its term is a finding of its own, with its fingerprint; so is the disk."""
    own, anchors = seen.material.chain[:1], seen.material.anchors
    if problem.key_path == "spool.directory":
        return not seen.disk.writable
    if problem.key_path == "tls.certificate":
        return any(out_of_term(one, seen.now) for one in own)
    return any(
        out_of_term(one.description, seen.now)
        for one in anchors
        if problem.key_path.startswith(f"tls.clients.{one.client}.trust_anchors")
        and one.description.subject in problem.message
    )


def _not_running(seen: Observations) -> Finding:
    if seen.other:
        return Finding(
            code="admin_port_strange",
            level=Level.PROBLEM,
            area=Area.GATEWAY,
            what=seen.other,
            why="this one cannot start there, and was not asked",
            remedy="give each gateway an admin.address of its own, or name that one's file by --config",
        )
    holder = seen.disk.holder
    if holder is not None:
        return Finding(
            code="admin_port_silent",
            level=Level.PROBLEM,
            area=Area.GATEWAY,
            what=f"process {holder} holds the spool, and nothing answers at {seen.plan.admin}",
            remedy="see its log; if admin.address was changed, restart it",
        )
    return Finding(
        code="gateway_not_running",
        level=Level.WARNING,
        area=Area.GATEWAY,
        what=f"no gateway runs here: nothing listens at {seen.plan.admin}",
        why="looked at: files, disk, clock, and what the network shows; not at what a running one would tell",
        remedy=seen.plan.command("run"),
    )


_CURES: Final[Mapping[str, str]] = {
    "spool": "look at its disk (dmesg), then restart the gateway",
    "free_space": "free some space on the spool's disk; it is ready again by itself",
    "certificates": "renew what has ended: it is taken up by itself",
    "draining": "it is being stopped: wait, and look again",
}
"""Of checks that fail; of the others the log knows more."""


def _judge_readiness(running: Running, seen: Observations) -> Iterator[Finding]:
    checks = running.content(READY) or {}
    failed = {name: mapping(check) for name, check in checks.items() if mapping(check).get("ok") is False}
    for name, found in failed.items():
        yield Finding(
            code="not_ready",
            level=Level.PROBLEM,
            area=Area.GATEWAY,
            what=f"not ready: {name.replace('_', ' ')}",
            why=text(found, "detail"),
            remedy=_CURES.get(name, "see the log of the gateway"),
        )
    for name, check in checks.items():
        told_below = name in _TOLD_BELOW and running.content(_TOLD_BELOW[name]) is not None
        if name not in failed and not told_below and (detail := text(mapping(check), "detail")):
            yield Finding(
                code="ready_with_remark",
                level=Level.WARNING,
                area=Area.GATEWAY,
                what=f"{name.replace('_', ' ')}: {detail}",
            )
    if not failed:
        yield Finding(
            code="ready",
            level=Level.OK,
            area=Area.GATEWAY,
            what=f"runs and is ready ({seen.plan.admin})",
        )


def _judge_loaded(running: Running, seen: Observations) -> Iterator[Finding]:
    content = running.content(CONFIG)
    if content is None:
        return
    last = mapping(content.get("last_reload"))
    at = time(last, "at")
    problems = list(mappings(last, "problems"))
    needs_restart = bool(problems) and all(text(one, "remedy") == RESTART_REMEDY for one in problems)
    if last.get("success") is False:
        when = f" {say_ago(at, seen.now)}" if at else ""
        yield Finding(
            code="reload_failed",
            level=Level.PROBLEM,
            area=Area.GATEWAY,
            what=f"the last reload{when} was refused: the gateway runs on what it had before",
            why="; ".join([*texts(last, "problems"), *map(_say_problem, problems)]),
            remedy=f"{RESTART_REMEDY} and reload (systemctl reload, kill -HUP)"
            if needs_restart
            else "mend it (gateway check); files are then taken by themselves, the YAML with systemctl"
            " reload (kill -HUP)",
        )
    loaded_at = time(content, "loaded_at")
    age = f", loaded {say_ago(loaded_at, seen.now)}" if loaded_at else ""
    if (loaded := text(content, "hash")) and not seen.plan.sha256.startswith(loaded):
        if needs_restart:
            return  # said above: a reload would not take it
        yield Finding(
            code="configuration_changed",
            level=Level.WARNING,
            area=Area.GATEWAY,
            what=f"{seen.plan.config} is not what the gateway runs on{age}",
            why="the file was changed since, or the gateway was started with another one",
            remedy="reload to take it: systemctl reload (kill -HUP)",
        )
    elif loaded:
        yield Finding(
            code="configuration_loaded",
            level=Level.OK,
            area=Area.GATEWAY,
            what=f"runs on {seen.plan.config} as it is{age}",
        )


def _say_problem(problem: Mapping[str, object]) -> str:
    place = ":".join(str(problem.get(part, "")) for part in ("file", "line", "column"))
    return f"{place}: {text(problem, 'key_path')}: {text(problem, 'message')}"
