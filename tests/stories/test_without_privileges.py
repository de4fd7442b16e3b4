"""The process needs no privileges, and a file system that it cannot write to, but for its own directories.

As root: a mount namespace of its own in which everything is read-only, and in it a user without capabilities.
That is what the unit of docs/getting-started.md and the container do; neither systemd nor Docker is needed.
"""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from gateway.simulator.pki import make_pki
from gateway.simulator.process import GatewayProcess
from gateway.simulator.target import REFUSE
from tests.stories.rig import Rig, message, open_target, unique_id, until

NOBODY = 65534
REPOSITORY = Path(__file__).parent.parent.parent

SANDBOX = """\
set -eu
prefix=$1 hidden=$2 hold=$3 own=$4; shift 4
if [ -n "$hidden" ]; then
  # The interpreter stands in a home directory that others may not enter: it is shown, and the home is not.
  mount --bind "$prefix" "$hold"
  mount -t tmpfs -o mode=755 tmpfs "$hidden"
  mkdir -p "$prefix"
  mount --bind "$hold" "$prefix"
fi
for directory in $own; do mount --bind "$directory" "$directory"; done
while read -r _ place kind _; do
  case $kind in proc|sysfs|devpts|cgroup*|mqueue|devtmpfs) continue ;; esac
  case " $own " in *" $place "*) continue ;; esac
  mount -o remount,bind,ro "$place" 2>/dev/null || true
done < /proc/self/mounts
cd /
exec setpriv --reuid 65534 --regid 65534 --clear-groups \\
  --bounding-set=-all --inh-caps=-all --no-new-privs -- "$@"
"""

PROBE = """\
import os, sys
for place in sys.argv[1:]:
    path = os.path.join(place, "written-by-the-probe")
    try:
        with open(path, "w") as file:
            file.write("x")
        os.unlink(path)
    except OSError as error:
        print(place, type(error).__name__)
    else:
        print(place, "written")
"""


def missing() -> str | None:
    """Return why the sandbox cannot be made here."""
    if os.geteuid() != 0:
        return "only root can make a mount namespace here"
    if shutil.which("unshare") is None or shutil.which("setpriv") is None:
        return "util-linux (unshare, setpriv) is not installed"
    tried = subprocess.run(
        ["unshare", "--mount", "sh", "-c", "mount -o remount,bind,ro /"], capture_output=True, check=False
    )
    return tried.stderr.decode().strip() if tried.returncode else None


WHY_NOT = missing()
pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=WHY_NOT or "")


@pytest.fixture
def lone_rig() -> Iterator[Rig]:
    """A gateway whose files are readable for the user without privileges: pytest's directories are not."""
    with tempfile.TemporaryDirectory(prefix="gateway-story-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        rig = Rig(directory=directory, pki=make_pki(directory / "certs"))
        (directory / "hold").mkdir()
        for own in ("state", "dead"):
            (directory / own).mkdir(mode=0o700)
        yield rig


def give_away(rig: Rig) -> None:
    """Make the user without privileges the owner of what is the service's; the configuration stays root's."""
    for top in ("certs", "secrets", "state", "dead"):
        for path in (rig.directory / top, *(rig.directory / top).rglob("*")):
            os.chown(path, NOBODY, NOBODY)


def sandboxed(rig: Rig, *command: str) -> list[str]:
    """Return the command line that runs a command in the sandbox."""
    prefix = Path(sys.base_prefix).resolve()
    hidden = [place for place in reversed(prefix.parents) if not place.stat().st_mode & stat.S_IXOTH]
    own = f"{rig.directory / 'state'} {rig.directory / 'dead'}"
    unshare = ["unshare", "--mount", "--propagation", "private", "sh", "-c", SANDBOX, "sandbox"]
    return [
        *unshare,
        str(prefix),
        str(hidden[0]) if hidden else "",
        str(rig.directory / "hold"),
        own,
        *command,
    ]


@asynccontextmanager
async def running(rig: Rig) -> AsyncGenerator[int, None]:
    """Run the gateway in the sandbox; give its number."""
    command = sandboxed(rig, sys.executable, "-m", "gateway", "--config", str(rig.config), "run")
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), "NO_COLOR": "1"}
    with (rig.directory / "gateway.log").open("wb") as log:
        process = await trio.lowlevel.open_process(command, stdout=log, stderr=log, env=environ)
    try:
        log_path = rig.directory / "gateway.log"
        await GatewayProcess(process, admin_url=rig.admin_url, log_path=log_path).wait_ready()
        yield process.pid
        process.terminate()
        with trio.fail_after(20):
            assert await process.wait() == 0, rig.log
    finally:
        with trio.CancelScope(shield=True):
            if process.poll() is None:
                process.kill()
            await process.wait()


def rights(pid: int) -> dict[str, str]:
    """Return what the kernel says of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)


def written_files(pid: int) -> set[Path]:
    """Return the plain files that a process holds open for writing."""
    found = set()
    for entry in Path(f"/proc/{pid}/fdinfo").iterdir():
        flags = next(line for line in entry.read_text().splitlines() if line.startswith("flags:"))
        path = Path(f"/proc/{pid}/fd/{entry.name}").readlink()
        if int(flags.split()[1], 8) & (os.O_WRONLY | os.O_RDWR) and path.is_file():
            found.add(path)
    return found


async def test_it_serves_without_privileges_and_writes_only_where_it_may(lone_rig: Rig) -> None:
    rig = lone_rig
    async with open_target(behaviour=REFUSE) as target:
        rig.write(targets={"support": target.url})
        give_away(rig)
        async with running(rig) as pid:
            assert (await rig.post(message(unique_id()))).status == 200
            await until(lambda: len(rig.dead_letters) == 1)
            told, files = rights(pid), written_files(pid)
    assert told["Uid"].split() == [str(NOBODY)] * 4
    assert told["NoNewPrivs"] == "1"
    assert {int(told[f"Cap{name}"], 16) for name in ("Prm", "Eff", "Inh", "Bnd", "Amb")} == {0}
    outside = {path for path in files if rig.directory / "state" not in path.parents}
    assert outside <= {rig.directory / "gateway.log"}, "the log was opened by whoever started it"
    assert len(files - outside) >= 2, "the spool is written"


def test_there_is_no_other_place_that_could_be_written(lone_rig: Rig) -> None:
    """The sandbox of the story above is tight: otherwise it would prove nothing."""
    own = [str(lone_rig.directory / name) for name in ("state", "dead")]
    others = ["/", "/tmp", "/var/tmp", "/dev/shm", "/run", "/etc"]  # noqa: S108 # the places that all may write
    others += [str(REPOSITORY), str(lone_rig.directory)]
    for name in own:
        os.chown(name, NOBODY, NOBODY)
    places = [*own, *(other for other in others if Path(other).is_dir())]
    done = subprocess.run(
        sandboxed(lone_rig, sys.executable, "-c", PROBE, *places),
        capture_output=True, text=True, check=False, env={"PATH": os.environ["PATH"]},
    )  # fmt: skip
    told = dict(line.rsplit(" ", 1) for line in done.stdout.splitlines())
    assert told.keys() == set(places), done.stderr
    assert {place for place, word in told.items() if word == "written"} == set(own)
