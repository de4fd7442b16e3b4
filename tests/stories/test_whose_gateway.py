"""Commands ask the gateway that is theirs; also where the file on disk is broken, or another one answers."""

import json
import subprocess
from pathlib import Path

from gateway.simulator.pki import PkiFiles
from tests.stories.rig import Rig, open_target


def failed(done: subprocess.CompletedProcess[bytes]) -> str:
    """Return what a command said that could not be done for the way it was called."""
    assert done.returncode == 2, done
    assert done.stdout == b""
    return done.stderr.decode()


async def test_a_file_that_is_broken_on_disk_hides_no_running_gateway(rig: Rig) -> None:
    async with open_target() as target:
        rig.write(targets={"support": target.url})
        sound = rig.config.read_text()
        # A line that is no YAML, and sections around it that are.
        admin = f'admin: {{address: "127.0.0.1:{rig.admin_port}"}}\n'
        broken = f"targets:\n  support: {{url: http://x\n{admin}routes: [\n"
        async with rig.running():
            rig.config.write_text(broken)
            listed = await rig.command("targets", "list", "--json")
            assert json.loads(listed.stdout)["targets"].keys() == {"support"}
            assert "the file is broken as it stands" in listed.stderr.decode()
            assert "gateway.yaml:" in listed.stderr.decode()
            status = await rig.command("status", "--json")
            assert json.loads(status.stdout)["running"] is True
            paused = await rig.command("targets", "pause", "support", "--reason", "the file is broken")
            assert b"paused" in paused.stdout
            report = await rig.command("doctor", "--offline", "--json", check=False)
            assert report.returncode == 1, "a problem: the file"
            told = report.stdout.decode()
            assert "gateway.yaml:" in told
            assert "paused" in told, "the running gateway was asked"
        stopped = failed(await rig.command("targets", "list", check=False))
        assert "gateway.yaml:" in stopped
        assert "remark" not in stopped, "nobody runs who could be asked"
        rig.config.write_text(sound)


async def test_another_gateway_on_the_same_admin_port_is_not_taken_for_ones_own(
    rig: Rig, tmp_path: Path, pki: PkiFiles
) -> None:
    directory = tmp_path / "another"
    directory.mkdir()
    other = Rig(directory=directory, pki=pki, admin_port=rig.admin_port)
    async with open_target() as target:
        for one in (rig, other):
            one.write(targets={"support": target.url})
        async with rig.running():
            for command in (
                ("targets", "list"),
                ("targets", "pause", "support"),
                ("status",),
                ("trace", "0" * 32),
            ):
                said = failed(await other.command(*command, check=False))
                assert "is another one" in said
                assert str(rig.config) in said
                assert str(other.spool_directory) in said
            examined = await other.command("doctor", "--offline", check=False)
            assert b"problem admin_port_strange: " in examined.stdout, (examined, rig.log)
            assert b"nothing listens" not in examined.stdout
            assert b"is another one" in examined.stdout, (examined, rig.log)
            assert json.loads((await rig.command("targets", "list", "--json")).stdout)["targets"]
            # A broken file of its own does not make it the other's either.
            other.config.write_text(other.config.read_text().replace('"routes"', '"roots"'))
            said = failed(await other.command("targets", "list", check=False))
            assert "roots" in said
            assert "remark" not in said
