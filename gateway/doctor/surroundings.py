"""Judge: targets, disk, clock and names. Pure."""

from collections.abc import Iterator
from statistics import median

from gateway.core.sizes import say_size
from gateway.doctor.advice import FILE_SYSTEMS, FSYNC, LATE_CLOCK_SECONDS, SLOW_LOOKUP_SECONDS
from gateway.doctor.backlog import paused_targets, say_waiting
from gateway.doctor.finding import Area, Finding, Level, plural, say_milliseconds
from gateway.doctor.observed import READY, Disk, Observations, Plan, Reached
from gateway.doctor.reading import mapping


def judge_targets(seen: Observations) -> Iterator[Finding]:
    """Can each target be reached? Nothing was posted to it."""
    bearable = seen.plan.shadows | paused_targets(seen)
    for target in seen.targets:
        yield _judge_target(target, bearable=target.name in bearable, waiting=say_waiting(target.name, seen))
        if target.unreachable and not target.fault:
            yield Finding(
                code="target_partly_unreachable",
                level=Level.WARNING,
                area=Area.TARGETS,
                what=f"{target.name}: {plural(len(target.unreachable), 'address', 'addresses')} of its name"
                " did not answer",
                why="; ".join(target.unreachable),
            )


def _judge_target(target: Reached, *, bearable: bool, waiting: str) -> Finding:
    if not target.fault:
        over = f" over {target.protocol}" if target.protocol else ""
        return Finding(
            code="target",
            level=Level.OK,
            area=Area.TARGETS,
            what=f"{target.name}: {target.address} answers{over} ({say_milliseconds(target.seconds)})",
        )
    return Finding(
        code="target_unreachable",
        level=Level.WARNING if bearable else Level.PROBLEM,
        area=Area.TARGETS,
        what=f"{target.name} cannot be reached: {target.fault}",
        why=waiting,
        remedy=target.remedy or "start it, or correct its url; what waits for it is safe on disk meanwhile",
        facts=(("url", target.url),),
    )


def judge_spool(seen: Observations) -> Iterator[Finding]:
    """Is the place of the spool durable, fast and big enough?"""
    disk = seen.disk
    yield _judge_place(disk)
    if disk.free_bytes < disk.min_free_bytes:
        content = seen.running.content(READY) if seen.running is not None else None
        # It may run on another spool.min_free than the file has: that takes a restart.
        accepts = mapping((content or {}).get("free_space")).get("ok") is True
        yield Finding(
            code="spool_full",
            level=Level.WARNING if accepts else Level.PROBLEM,
            area=Area.SPOOL,
            what=f"{say_size(disk.free_bytes)} are free, and spool.min_free is"
            f" {say_size(disk.min_free_bytes)}: notifications are answered 503"
            + (" after the next start" if accepts else ""),
            remedy="free some space; nothing has to be restarted",
        )
    if disk.file_system in FILE_SYSTEMS:
        level, why = FILE_SYSTEMS[disk.file_system]
        yield Finding(
            code="spool_file_system",
            level=level,
            area=Area.SPOOL,
            what=f"{disk.directory} is on {disk.file_system}",
            why=why,
            remedy="name a directory on a local disk (in a container: a volume)",
        )
    if (left := seen.plan.left) and seen.running is None:  # of one that runs, its checks tell
        yield Finding(
            code="spool_left",
            level=Level.WARNING,
            area=Area.SPOOL,
            what=left.message,
            remedy=left.remedy,
        )
    yield from _judge_sync(disk, seen.plan)


def _judge_place(disk: Disk) -> Finding:
    facts = [("file system", disk.file_system or "not known"), ("free", say_size(disk.free_bytes))]
    if disk.holder is not None:
        facts.append(("held by", f"process {disk.holder}"))
    if not disk.writable and not disk.owner:
        return Finding(
            code="spool_not_writable",
            level=Level.PROBLEM,
            area=Area.SPOOL,
            what=f"{disk.directory} cannot be written to",
            remedy="name a directory that the gateway's user may write to, on a disk that is not read-only",
            facts=tuple(facts),
        )
    state = "" if disk.exists else " (not there yet: made at start)"
    if not disk.exists and disk.fault and disk.owner:
        state = " (cannot be looked into as this user)"
    return Finding(
        code="spool", level=Level.OK, area=Area.SPOOL, what=f"{disk.directory}{state}", facts=tuple(facts)
    )


def _judge_sync(disk: Disk, plan: Plan) -> Iterator[Finding]:
    if not disk.fsync_seconds:
        yield Finding(
            code="fsync_not_measured",
            level=Level.NOTE,
            area=Area.SPOOL,
            what="the time of a durable write was not measured",
            why=disk.fault,
            remedy=f"run as: sudo -u {disk.owner} {plan.command('doctor')}" if disk.owner else "",
        )
        return
    middle, worst = median(disk.fsync_seconds), max(disk.fsync_seconds)
    level = next((level for seconds, level in FSYNC if middle >= seconds), Level.OK)
    yield Finding(
        code="fsync",
        level=level,
        area=Area.SPOOL,
        what=f"a durable write takes {say_milliseconds(middle)} (median of {len(disk.fsync_seconds)};"
        f" the slowest {say_milliseconds(worst)})",
        why="" if level is Level.OK else "each answer waits for one, and Meta wants a median within 250 ms",
        remedy="" if level is Level.OK else "put the spool on a faster disk",
    )


def judge_clock(seen: Observations) -> Iterator[Finding]:
    """Is the clock kept in step? How late it is, nobody here can know."""
    clock = seen.clock
    if clock.synchronised is None:
        yield Finding(
            code="clock_unknown",
            level=Level.NOTE,
            area=Area.MACHINE,
            what="the kernel does not say whether its clock is kept in step",
        )
    elif not clock.synchronised:
        yield Finding(
            code="clock_unsynchronised",
            level=Level.WARNING,
            area=Area.MACHINE,
            what=f"nobody keeps the clock in step; it says {seen.now:%Y-%m-%d %H:%M} UTC",
            why="certificates are judged by it; the kernel says that it is not synchronised",
            remedy="compare with a watch; switch on NTP: timedatectl set-ntp true (or chrony)",
        )
    else:
        error = clock.max_error_seconds or 0.0
        late = error >= LATE_CLOCK_SECONDS
        yield Finding(
            code="clock",
            level=Level.NOTE if late else Level.OK,
            area=Area.MACHINE,
            what=f"the clock is kept in step, says the kernel (off by {say_milliseconds(error)} at most)",
        )
    chain = seen.material.chain
    if chain and seen.now < chain[0].not_before:
        yield Finding(
            code="clock_behind",
            level=Level.PROBLEM,
            area=Area.MACHINE,
            what=f"the clock says {seen.now:%Y-%m-%d %H:%M}, before the gateway's own certificate was issued",
            remedy="set the clock",
        )


def judge_names(seen: Observations) -> Iterator[Finding]:
    """Do names resolve, and soon?"""
    if seen.offline:
        yield Finding(
            code="offline",
            level=Level.NOTE,
            area=Area.MACHINE,
            what="--offline: names, targets and the public port were left alone",
        )
    for resolved in seen.resolved:
        public = resolved.host == seen.plan.public_host
        if resolved.fault:
            yield Finding(
                code="name_unknown",
                level=Level.PROBLEM,
                area=Area.MACHINE,
                what=f"{resolved.host}: {resolved.fault}",
                why="the host of listen.public_url: Meta has to find it too" if public else "",
                remedy="see the name server's entry"
                if public
                else "see /etc/resolv.conf and the name's entry",
            )
            continue
        slow = resolved.seconds >= SLOW_LOOKUP_SECONDS
        yield Finding(
            code="name",
            level=Level.WARNING if slow else Level.OK,
            area=Area.MACHINE,
            what=f"{resolved.host}: {', '.join(resolved.addresses)} ({say_milliseconds(resolved.seconds)})",
            why="every new connection to a target waits for it" if slow and not public else "",
            remedy="see /etc/resolv.conf: the first name server may be dead" if slow else "",
        )
