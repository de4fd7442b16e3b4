"""A damaged log is told from one that a crash cut off (promise 16): SQLite takes the one for the other."""

import random
import shutil
from pathlib import Path

import pytest

from gateway.errors import SpoolBrokenError
from gateway.spool import writer
from gateway.spool.database import FILE_NAME, wal_of
from gateway.spool.log_frames import commits_behind
from tests.spool.rig import note, opened
from tests.spool.test_database import refused

COMMITS = 12
FRAME_BYTES = 24 + 4096


@pytest.fixture
async def crashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A spool as a crash leaves it: a dozen commits in the log, and nothing of them in the main file."""
    monkeypatch.setattr(writer, "IDLE_SECONDS", writer.SLEEP_SECONDS)
    monkeypatch.setattr(writer, "CHECKPOINT_EVERY", 1 << 30)
    async with opened(tmp_path / "running") as spool:
        for _ in range(COMMITS):
            await spool.append(note())
        shutil.copytree(tmp_path / "running", tmp_path / "crashed")
    return tmp_path / "crashed"


def log_of(directory: Path) -> Path:
    return wal_of(directory / "0" / FILE_NAME)


def commit_frames(log: bytes) -> list[int]:
    """Return where the frames that end a commit begin."""
    return [at for at in range(32, len(log), FRAME_BYTES) if log[at + 4 : at + 8] != bytes(4)]


def flip(log: Path, at: int) -> None:
    content = bytearray(log.read_bytes())
    content[at] ^= 0x10
    log.write_bytes(content)


async def pending(directory: Path) -> int:
    async with opened(directory) as spool:
        return sum(spool.pending().values())


async def test_what_a_crash_leaves_is_read_whole(crashed: Path) -> None:
    assert len(commit_frames(log_of(crashed).read_bytes())) >= COMMITS
    assert await pending(crashed) == COMMITS


@pytest.mark.parametrize("field", [0, 5, 10, 20, 24, 3000], ids=lambda at: f"byte {at} of a frame")
async def test_a_log_that_is_damaged_before_later_commits_is_refused_and_left_alone(
    crashed: Path, field: int
) -> None:
    log = log_of(crashed)
    at = commit_frames(log.read_bytes())[COMMITS // 2] + FRAME_BYTES + field
    flip(log, at)
    await refused(crashed, SpoolBrokenError, "its log is not as it was written")


@pytest.mark.parametrize("at", [0, 9, 13, 17, 25], ids=lambda at: f"byte {at}")
async def test_a_log_with_a_damaged_header_is_refused_and_left_alone(crashed: Path, at: int) -> None:
    flip(log_of(crashed), at)
    await refused(crashed, SpoolBrokenError, "its log is not as it was written")


async def test_wherever_a_crash_cut_the_log_off_it_opens_with_all_commits_before(
    crashed: Path, tmp_path: Path
) -> None:
    whole = log_of(crashed).read_bytes()
    ends = [at + FRAME_BYTES for at in commit_frames(whole)][-COMMITS:]
    chance = random.Random(7)
    for number in range(25):
        cut = tmp_path / f"cut-{number}"
        shutil.copytree(crashed, cut)
        length = chance.randrange(ends[0] - 1, len(whole))
        log_of(cut).write_bytes(whole[:length])
        assert await pending(cut) == sum(end <= length for end in ends)


async def test_a_last_commit_of_which_the_disk_has_only_parts_is_no_damage(crashed: Path) -> None:
    """A power failure: of what was not synced any part may be there, its end before its beginning."""
    log = log_of(crashed)
    before_last = commit_frames(log.read_bytes())[-2] + FRAME_BYTES
    content = log.read_bytes()
    log.write_bytes(content[:before_last] + bytes(FRAME_BYTES) + content[before_last + FRAME_BYTES :])
    assert await pending(crashed) == COMMITS - 1


async def test_what_a_checkpoint_has_moved_is_no_damage(crashed: Path, tmp_path: Path) -> None:
    """The log begins anew over frames of the generation before, which still end commits."""
    async with opened(crashed) as spool:
        spool._writer._engine.checkpoint()
        await spool.append(note())
        shutil.copytree(crashed, tmp_path / "again")
    log = log_of(tmp_path / "again")
    assert len(commit_frames(log.read_bytes())) >= COMMITS
    assert await pending(tmp_path / "again") == COMMITS + 1


def test_no_log_and_half_a_header_hold_nothing(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert commits_behind(log, -1, page_bytes=4096) == 0
    for content in (b"", bytes(31), bytes(40)):
        log.write_bytes(content)
        assert commits_behind(log, 0, page_bytes=4096) == 0
    log.write_bytes(bytes(32 + 10 * FRAME_BYTES))
    assert commits_behind(log, 0, page_bytes=4096) == 0
