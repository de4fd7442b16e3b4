"""System calls of a real process on its files, recorded by strace, and what a disk holds after each of them.

Three views of a prefix: the process was killed (all that was done is there); the power failed, and nothing is
there but what was synced; the power failed, and names are there that were not synced, but no content.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Final

import pytest

CALLS: Final = (
    "openat,mkdir,mkdirat,write,writev,pwrite64,pwritev,fsync,fdatasync,ftruncate,truncate,fallocate,"
    "rename,renameat,renameat2,link,linkat,symlinkat,unlink,unlinkat,rmdir"
)
"""Whatever changes a file or a directory, or makes it durable."""


def _can_trace() -> bool:
    if shutil.which("strace") is None:
        return False
    tried = ["strace", "-o", "/dev/null", sys.executable, "-c", ""]
    return subprocess.run(tried, check=False, capture_output=True).returncode == 0


needs_strace = pytest.mark.skipif(not _can_trace(), reason="system calls cannot be recorded here: no strace")

_CALL = re.compile(r"(\d+) +(?:<\.\.\. )?(\w+)(.*)")
_HEX = re.compile(r"(?:\\x[0-9a-f]{2})+")
_RESULT = re.compile(r"(.*)\) += (-?\d+)")
_ARGUMENT = re.compile(r'(?:AT_FDCWD|\d+)<([^>]*)>|"([^"]*)"|([^, ]+)')


@dataclass(frozen=True, slots=True)
class Call:
    """A system call that succeeded: its name, the paths it names, its data, its last number."""

    name: str
    paths: tuple[str, ...]
    data: bytes = b""
    number: int = 0
    flags: str = ""


def strace(record: Path) -> tuple[str, ...]:
    """Return the command to start a process with."""
    shown = ("-y", "-xx", "-s", str(1 << 24))
    return ("strace", "-D", "-f", "--seccomp-bpf", *shown, "-e", f"trace={CALLS}", "-o", str(record))


def is_complete(record: Path) -> bool:
    """Whether the process has ended, and strace has written all of it down."""
    lines = record.read_text().splitlines()
    return bool(lines) and lines[-1].endswith("+++")


def read_calls(record: Path) -> Iterator[Call]:
    """Return the calls that succeeded, in the order in which they ended."""
    begun: dict[str, str] = {}
    for line in record.read_text().splitlines():
        matched = _CALL.fullmatch(line)
        if matched is None:
            continue
        process, name, rest = matched.groups()
        if rest.endswith("<unfinished ...>"):
            begun[process] = rest.removesuffix("<unfinished ...>")
            continue
        if rest.startswith(" resumed>"):
            rest = begun.pop(process) + rest.removeprefix(" resumed>")
        ended = _RESULT.match(rest)
        if ended is not None and int(ended.group(2)) >= 0:
            yield _call(name, ended.group(1).removeprefix("("), int(ended.group(2)))


def _call(name: str, arguments: str, result: int) -> Call:
    found: list[tuple[str, bytes]] = []
    for held, quoted, bare in _ARGUMENT.findall(arguments):
        kind = "path" if held else "text" if quoted else "bare"
        found.append((kind, _unhex(held or quoted) if not bare else bare.encode()))
    kinds, values = [kind for kind, _ in found], [value for _, value in found]
    if name in {"write", "pwrite64", "writev", "pwritev"}:
        data = values[1] if kinds[1] == "text" else b""
        number = int(values[-1]) if name == "pwrite64" else 0
        return Call(name, (values[0].decode(),), data[:result], number)
    paths: list[str] = []
    at = ""
    for kind, value in found:
        if kind == "path":
            if at:
                paths.append(at)
            at = value.decode()
        elif kind == "text":
            paths.append(str(Path(at or "/") / value.decode()))
            at = ""
    if at:
        paths.append(at)
    number = int(values[-1]) if values[-1].isdigit() else 0
    flags = next((value.decode() for kind, value in found if kind == "bare" and value.startswith(b"O_")), "")
    return Call(name, tuple(paths), b"", number, flags)


def _unhex(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", "")) if _HEX.fullmatch(text) else text.encode()


class View(Enum):
    """What is left."""

    KILLED = "the process was killed"
    SYNCED = "the power failed, and nothing is left but what was synced"
    NAMES = "the power failed, and names are left whose content was not synced"


@dataclass(slots=True, eq=False)
class _File:
    content: bytearray = field(default_factory=bytearray)
    synced: bytes = b""


@dataclass(slots=True, eq=False)
class _Directory:
    entries: "dict[str, _File | _Directory]" = field(default_factory=dict)
    synced: "dict[str, _File | _Directory]" = field(default_factory=dict)


class Disk:
    """A model of what is below one directory: in the page cache, and on the disk."""

    def __init__(self, root: Path) -> None:
        """`root`, which is there already, and durable."""
        self._root_path = root
        self._root = _Directory()

    def do(self, call: Call) -> bool:
        """Do one call; False where it is about other files."""
        places = [self._place(path) for path in call.paths]
        if not places or None in places:
            return False
        parent, name = places[0] or (self._root, "")
        node = parent.entries.get(name) if name else self._root
        match call.name:
            case "openat":
                return self._open(call, parent, name, node)
            case "mkdir" | "mkdirat":
                parent.entries[name] = _Directory()
            case "write" | "pwrite64":
                assert isinstance(node, _File)
                at = call.number if call.name == "pwrite64" else len(node.content)
                node.content[at:at] = bytes(max(0, at - len(node.content)))
                node.content[at : at + len(call.data)] = call.data
            case "ftruncate":
                assert isinstance(node, _File)
                node.content[:] = node.content[: call.number].ljust(call.number, b"\0")
            case "fsync" | "fdatasync":
                if isinstance(node, _File):
                    node.synced = bytes(node.content)
                elif node is not None:
                    node.synced = dict(node.entries)
            case "rename" | "renameat" | "renameat2":
                target, new = places[1] or (self._root, "")
                target.entries[new] = parent.entries.pop(name)
            case "unlink" | "unlinkat" | "rmdir":
                del parent.entries[name]
            case _:
                raise AssertionError(f"{call.name} on {call.paths}: the model does not know what it does")
        return True

    def _open(self, call: Call, parent: _Directory, name: str, node: _File | _Directory | None) -> bool:
        if node is None:
            assert "O_CREAT" in call.flags, call
            parent.entries[name] = _File()
            return True
        if isinstance(node, _File) and "O_TRUNC" in call.flags:
            node.content.clear()
            return True
        return False

    def _place(self, path: str) -> tuple[_Directory, str] | None:
        if path == str(self._root_path):
            return self._root, ""
        if not path.startswith(f"{self._root_path}/"):
            return None
        *way, name = Path(path).relative_to(self._root_path).parts
        current = self._root
        for part in way:
            found = current.entries.get(part)
            if not isinstance(found, _Directory):
                return None
            current = found
        return current, name

    def files(self, view: View) -> dict[str, bytes | None]:
        """Return what is there, by path below the root; None: a directory."""
        return dict(_files(self._root, "", view))


def _files(directory: _Directory, prefix: str, view: View) -> Iterator[tuple[str, bytes | None]]:
    entries = directory.synced if view is View.SYNCED else directory.entries
    for name, node in entries.items():
        path = f"{prefix}{name}"
        if isinstance(node, _File):
            yield path, bytes(node.content) if view is View.KILLED else node.synced
        else:
            yield path, None
            yield from _files(node, f"{path}/", view)


def put(files: dict[str, bytes | None], directory: Path) -> None:
    """Write what is there into a fresh directory."""
    directory.mkdir()
    for path, content in files.items():
        if content is None:
            (directory / path).mkdir()
        else:
            (directory / path).write_bytes(content)
