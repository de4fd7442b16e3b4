"""On what was measured: the machine and the versions. No names of hosts or people."""

import os
import platform
import re
import ssl
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Final

import apsw
from cryptography.hazmat.backends.openssl import backend

from bench.contenders import OTHERS
from bench.ground import BENCH
from bench.nginx import binary
from gateway import __version__

OURS: Final = ("trio", "hypercorn", "pyopenssl", "httptools", "httpx", "apsw")
THEIRS: Final = ("uvicorn", "uvloop", "httptools", "granian")
ASK_SECONDS: Final = 10.0
"""For a program to say its version."""


def describe() -> dict[str, object]:
    """Return what a reader needs to judge the figures."""
    return {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        "kernel": platform.release().partition("-")[0],
        "file_system": _file_system(BENCH),
        "versions": {
            "gateway": __version__,
            "python": f"{platform.python_version()} ({platform.python_compiler()})",
            "openssl of Python": ssl.OPENSSL_VERSION,
            "openssl of cryptography": backend.openssl_version_text(),
            "sqlite of apsw": apsw.sqlite_lib_version(),
            "nginx": _nginx_version(),
            **_versions(OURS, None),
            **_versions(THEIRS, OTHERS.parent),
        },
    }


def _cpu() -> str:
    text = Path("/proc/cpuinfo").read_text()
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1] if found else platform.machine()


def _file_system(path: Path) -> str:
    """Return the type of the file system that a path is on: the longest mount point that leads to it."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    fitting = [(len(point), kind) for _, point, kind, *_ in mounts if path.is_relative_to(point)]
    return max(fitting)[1] if fitting else "unknown"


def _nginx_version() -> str:
    nginx = binary()
    if nginx is None:
        return "none"
    said = subprocess.run(  # noqa: S603 (no shell, and no word of it comes from outside)
        [nginx, "-v"], capture_output=True, text=True, check=False, timeout=ASK_SECONDS
    )
    return said.stderr.strip().rpartition("/")[2]


def _versions(names: tuple[str, ...], environment: Path | None) -> dict[str, str]:
    """Look up distributions, here or in another environment (whose names are then marked as of it)."""
    folder = f"python{sys.version_info.major}.{sys.version_info.minor}"
    path = sys.path if environment is None else [str(environment / "lib" / folder / "site-packages")]
    mark = "" if environment is None else " (others)"
    found = {one.metadata["Name"].lower(): one.version for one in metadata.distributions(path=path)}
    return {name + mark: found[name] for name in names if name in found}
