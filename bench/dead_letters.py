"""100 000 dead letters: what each command takes of time and memory. `python -m bench.dead_letters`."""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from gateway.delivery.dead_letter import DeadLetterStore
from gateway.delivery.dead_letter_record import DeadLetter, Reason, Summary, encode
from gateway.spool.history import AttemptRecord

FEW: Final = 1_000
MANY: Final = 100_000
A_DAY_MS: Final = 86_400_000
COMMANDS: Final = (("list", "--json"), ("replay", "--all", "--dry-run"), ("discard", "--all", "--yes"))


def write_many(store: DeadLetterStore, number: int, *, first: int = 0) -> None:
    """Write letters of one day without syncing each: what is measured is the reading."""
    made: set[Path] = set()
    now_ms = time.time_ns() // 1_000_000 - A_DAY_MS
    for index in range(first, first + number):
        letter = _letter(index, now_ms + index * A_DAY_MS // max(number, 1) % A_DAY_MS)
        directory = store.directory.joinpath(*letter.directory)
        if directory not in made:
            directory.mkdir(parents=True, exist_ok=True)
            made.add(directory)
        path = directory / f"{letter.id}.json"
        path.write_bytes(encode(letter, seal_key=store.seal_key))
        os.utime(path, ns=(now_ms * 1_000_000, now_ms * 1_000_000))


def _letter(index: int, at_ms: int) -> DeadLetter:
    record = AttemptRecord(number=1, at_ms=at_ms, status=422, error="", duration_ms=3, response_excerpt="no")
    return DeadLetter(
        id=f"{at_ms:012x}7000{index:016x}-support",
        notification_id=f"{at_ms:012x}7000{index:016x}",
        app="main",
        target="support",
        url="http://support.internal/",
        summary=Summary(
            object="whatsapp_business_account",
            fields=("messages",),
            kinds=("message",),
            waba="1",
            phone_number_id="2",
        ),
        reason=Reason.REFUSED,
        received_at_ms=at_ms,
        died_at_ms=at_ms,
        attempts=(record,),
        headers={"Content-Type": "application/json"},
        body=b'{"object":"whatsapp_business_account","entry":[]}' + b" " * 450,
    )


def main() -> None:
    """Print a table."""
    with tempfile.TemporaryDirectory() as place:
        site = Path(place) / "site"
        _run("init", str(site))
        config = site / "gateway.yaml"
        with config.open("a") as file:
            file.write("\nadmin: {address: '127.0.0.1:1'}\n")
        (site / "var").mkdir()
        key = site / "var" / "seal.key"
        key.write_bytes(b"k" * 32)
        key.chmod(0o600)
        store = DeadLetterStore(site / "var" / "dead-letter", b"k" * 32)
        sys.stdout.write("| command | letters | seconds | MB at most |\n|---|---:|---:|---:|\n")
        for number in (FEW, MANY):
            write_many(store, number)
            for command in COMMANDS:
                seconds, peak_mb = _run("--config", str(config), "dead-letters", *command)
                sys.stdout.write(f"| `{' '.join(command)}` | {number:,} | {seconds:.1f} | {peak_mb:.0f} |\n")
                sys.stdout.flush()


def _run(*arguments: str) -> tuple[float, float]:
    """Run a command; return how long it took, and its resident memory at most."""
    started = time.perf_counter()
    with subprocess.Popen(  # noqa: S603 - our own interpreter and command
        [sys.executable, "-m", "gateway", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"gateway {' '.join(arguments)}: exit code {process.returncode}")
    return time.perf_counter() - started, _megabytes(usage)


def _megabytes(usage: resource.struct_rusage) -> float:
    return usage.ru_maxrss / 1024


if __name__ == "__main__":
    main()
