"""Which files a configuration names, where they could be turned elsewhere, and whether they have changed."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.settings import files
from gateway.settings.files import NO_FILE, directories_of, look, paths_of, read_within
from gateway.settings.load import load_settings


def test_every_file_that_is_read_is_named_and_what_is_written_to_is_not(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s")
    (tmp_path / "numbers").write_text("1065\n")
    config = tmp_path / "gateway.yaml"
    config.write_text(
        """\
tls:
  certificate: server.pem
  private_key: server.key
  clients: {meta: {trust_anchors: [anchors, old.pem], staged_anchors: [next.pem], revocation_lists: [a.crl]}}
apps: {main: {path: /a, app_secrets: [{file: secret}], verify_token: {env: TOKEN}}}
targets: {support: {url: "https://a/", tls: {ca: ca.pem, certificate: me.pem, private_key: me.key}}}
routes: [{phone_number_id: {file: numbers}, to: [support]}]
"""
    )
    loaded = load_settings(config, environ={"TOKEN": "t"})
    names = "server.pem server.key anchors old.pem next.pem a.crl ca.pem me.pem me.key"
    assert paths_of(loaded.settings) == {tmp_path / name for name in names.split()}
    assert loaded.opened == look([tmp_path / "secret", tmp_path / "numbers"])


def test_content_is_compared_and_no_time(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("one")
    before = look([file])
    os.utime(file, (1, 1))
    assert look([file]) == before
    file.write_text("two")
    os.utime(file, (1, 1))
    assert look([file]) != before


def test_a_file_that_cannot_be_read_differs_from_one_that_can_and_from_none(tmp_path: Path) -> None:
    file = tmp_path / "file"
    states = [look([file])[file]]
    file.mkdir()
    states.append(look([file])[file])
    (file / "inside").write_text("a")
    states.append(look([file])[file])
    (file / "inside").write_text("b")
    states.append(look([file])[file])
    (file / "inside").unlink()
    file.rmdir()
    os.mkfifo(file)
    states.append(look([file])[file])
    assert states[-1] == NO_FILE
    assert len(set(states)) == len(states)
    assert look([Path("/nowhere/\0")])[Path("/nowhere/\0")]


def with_parents(*directories: Path) -> set[Path]:
    return {one for directory in directories for one in (directory, directory.parent)}


def test_a_plain_file_can_be_turned_elsewhere_in_its_directory_or_with_it(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/file").write_text("")
    assert directories_of([tmp_path / "a/file", tmp_path / "a"]) == {tmp_path / "a", tmp_path}


def test_each_link_on_the_way_can_be_turned_where_it_stands(tmp_path: Path) -> None:
    """As Kubernetes and certbot lay them out: `secret -> ..data/secret`, `..data -> ..2026`."""
    (tmp_path / "volume/..2026").mkdir(parents=True)
    (tmp_path / "volume/..2026/secret").write_text("")
    (tmp_path / "volume/..data").symlink_to("..2026")
    (tmp_path / "volume/secret").symlink_to("..data/secret")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/key").symlink_to(tmp_path / "volume/../volume/secret")
    assert directories_of([tmp_path / "etc/key"]) == with_parents(
        tmp_path / "etc", tmp_path / "volume", tmp_path / "volume/..2026"
    )


def test_of_what_is_not_there_the_nearest_directory_is_watched(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").symlink_to("gone/away")
    for name in ("no/where/file", "dangling", "loop"):
        assert directories_of([tmp_path / name]) == with_parents(tmp_path)


def test_a_pipe_is_read_to_its_end(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    def write() -> None:
        with (tmp_path / "pipe").open("wb", buffering=0) as pipe:
            pipe.write(b"one ")
            pipe.write(b"two")

    with ThreadPoolExecutor() as pool:
        writing = pool.submit(write)
        assert read_within(tmp_path / "pipe", max_bytes=100) == (b"one two", False)
        writing.result()


def test_a_pipe_that_nobody_writes_to_is_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each reload would leave a thread behind, and forty of them stop the process."""
    monkeypatch.setattr(files, "PIPE_SECONDS", 0.05)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="No data available"):
        read_within(tmp_path / "pipe", max_bytes=100)
    writer = os.open(tmp_path / "pipe", os.O_RDWR)
    os.write(writer, b"begun")
    with pytest.raises(OSError, match="No data available"):
        read_within(tmp_path / "pipe", max_bytes=100)
    os.close(writer)


def test_no_more_is_read_than_asked_for(tmp_path: Path) -> None:
    assert read_within(Path("/dev/zero"), max_bytes=10) == (bytes(10), False)
    (tmp_path / "file").write_bytes(b"0123456789")
    assert read_within(tmp_path / "file", max_bytes=4) == (b"0123", True)
    with pytest.raises(IsADirectoryError):
        read_within(tmp_path, max_bytes=1)


def test_a_name_that_is_too_long_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("a" * 300)
    for name in ("link", "b" * 300):
        assert directories_of([tmp_path / name]) == with_parents(tmp_path)


def test_a_directory_that_must_not_be_looked_into_is_no_error(tmp_path: Path) -> None:
    """As a user without privileges, in a process of its own: the directory above is watched."""
    (tmp_path / "closed/in").mkdir(parents=True)
    script = """
import os
from pathlib import Path
from gateway.settings.files import directories_of
Path("closed").chmod(0)
if os.getuid() == 0:
    Path().chmod(0o711)
    os.setuid(65534)
print(*sorted(directories_of([Path("closed/in/file")])))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    (tmp_path / "closed").chmod(0o700)
    assert (done.stdout, done.stderr) == (". closed\n", "")


@pytest.mark.parametrize("relative", [".", "a", "a/../b"])
def test_a_relative_path_is_walked_from_here(
    relative: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert tmp_path.resolve() in {directory.resolve() for directory in directories_of([Path(relative)])}


@given(st.text(max_size=40))
def test_no_path_at_all_is_an_error(text: str) -> None:
    path = Path("/tmp/nowhere", text)  # noqa: S108 (nothing is made)
    look([path])
    directories_of([path])
