"""What a process remembers over a restart: whole, private, and told of where it cannot be used."""

from pathlib import Path

import msgspec
import pytest

from gateway.telemetry.state_file import StateFileError, read_state, state_file_name, write_state

DECODER = msgspec.json.Decoder(list[int])


def test_each_worker_has_a_file_of_its_own() -> None:
    assert [state_file_name("times", worker) for worker in range(3)] == [
        "times.json",
        "times-1.json",
        "times-2.json",
    ]


def test_what_is_written_is_read_again_and_nobody_else_may(tmp_path: Path) -> None:
    file = tmp_path / "times.json"
    assert read_state(file, DECODER, max_bytes=100) is None
    write_state(file, b"[1,2]")
    assert read_state(file, DECODER, max_bytes=100) == [1, 2]
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [b"", b"{}", b"[1,", b'["one"]', b"\xff"])
def test_what_is_no_such_file_is_told_with_its_path(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "times.json"
    write_state(file, content)
    with pytest.raises(StateFileError, match=r"times\.json cannot be used"):
        read_state(file, DECODER, max_bytes=100)


def test_a_file_beyond_the_bound_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "times.json"
    write_state(file, b"[" + b"1," * 100 + b"1]")
    with pytest.raises(StateFileError):
        read_state(file, DECODER, max_bytes=100)


def test_where_it_cannot_be_written_that_is_told(tmp_path: Path) -> None:
    with pytest.raises(StateFileError, match="cannot be written"):
        write_state(tmp_path / "gone" / "times.json", b"[]")
