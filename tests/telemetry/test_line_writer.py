"""Lines to a descriptor, by a thread of their own."""

import errno
import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from gateway.telemetry.line_writer import MAX_HELD_LINES, LineWriter


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    for descriptor in (reading, writing):
        with suppress(OSError):  # a test has closed it
            os.close(descriptor)


def read_all(reading: int) -> list[str]:
    with os.fdopen(os.dup(reading), encoding="utf-8", errors="surrogateescape") as stream:
        return stream.read().split("\n")


def test_lines_arrive_whole_and_in_order(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    writer = LineWriter(writing)
    for number in range(300):
        writer.put(f"{number} " + "x" * (number * 7 % 90))
    assert writer.close(seconds=10)
    os.close(writing)
    assert [line.split(" ")[0] for line in read_all(reading)] == [*map(str, range(300)), ""]


def test_whoever_writes_to_a_full_pipe_is_not_held_and_hears_later_what_was_lost(
    pipe: tuple[int, int],
) -> None:
    reading, writing = pipe
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    writer = LineWriter(writing)
    line = "x" * 99
    for _ in range(MAX_HELD_LINES + 500):
        writer.put(line)  # nobody reads: were it to wait, it would for ever
    assert 300 <= writer.lost_lines <= 500
    told = writer.take_lost()
    assert writer.lost_lines == 0
    writer.put("too early", tells_lost=told)
    assert writer.lost_lines == told + 1, "the line that was to tell of them was lost as well"
    lost = writer.take_lost()
    received: list[str] = []
    reader = threading.Thread(target=lambda: received.extend(read_all(reading)))
    reader.start()
    assert writer.close(seconds=20)
    os.close(writing)
    reader.join(20)
    assert len(received) - 1 == MAX_HELD_LINES + 501 - lost


def test_a_reader_that_is_gone_costs_lines_and_nothing_else(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    os.close(reading)
    writer = LineWriter(writing)
    writer.put("one")
    writer.put("two")
    assert not writer.close(seconds=10)
    assert writer.lost_lines == 2


def test_a_full_disk_costs_lines_and_the_next_one_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = [4, 0]
    really = os.write

    def write(descriptor: int, data: bytes) -> int:
        if not room:
            return really(descriptor, data)
        if (left := room.pop(0)) == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return really(descriptor, data[:left])

    path = tmp_path / "log"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    monkeypatch.setattr(os, "write", write)
    writer = LineWriter(descriptor)
    writer.put("torn in two")
    while room:
        threading.Event().wait(0.001)
    writer.put("whole")
    assert not writer.close(seconds=10)
    os.close(descriptor)
    assert writer.lost_lines == 1
    assert path.read_text() == "torn\nwhole\n"


def test_a_descriptor_that_does_not_wait_is_waited_for(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writing, False)
    writer = LineWriter(writing)
    for number in range(1000):
        writer.put(f"{number:099}")
    received: list[str] = []
    reader = threading.Thread(target=lambda: received.extend(read_all(reading)))
    reader.start()
    assert writer.close(seconds=20)
    os.close(writing)
    reader.join(20)
    assert received == [*(f"{number:099}" for number in range(1000)), ""]
