"""The bench against a real gateway: what it says is accepted has arrived, each change once."""

import json
import sys

import trio

from gateway.simulator.bench.mix import DEFAULT_SHARES
from tests.stories.rig import Config, Rig, free_port


async def test_every_change_that_the_bench_gets_a_200_for_arrives_once_at_the_target_it_stands_for(
    rig: Rig,
) -> None:
    def change(config: Config) -> None:
        config["targets"]["bench"]["max_changes"] = 100
        # Batches are cut: some of their changes go here, and some elsewhere.
        config["routes"] = [{"kind": "status", "to": ["bench"]}, {"field": "*", "to": ["elsewhere"]}]

    rig.write(
        targets={name: f"http://127.0.0.1:{free_port()}/" for name in ("bench", "elsewhere")}, change=change
    )
    mix = ",".join(f"{kind}={6 if kind == 'large' else 10}" for kind in DEFAULT_SHARES)
    command = [sys.executable, "-m", "gateway", "--config", str(rig.config), "bench", "--verify", "--json"]
    command += ["--duration", "2s", "--rate", "60", "--mix", mix, "--large", "500KiB"]
    command += ["--cert", str(rig.pki.client_certificate), "--key", str(rig.pki.client_key)]
    command += ["--ca", str(rig.pki.server_ca)]
    async with rig.running():
        with trio.fail_after(60):
            done = await trio.run_process(
                command,
                check=False,
                capture_stdout=True,
            )
    told = json.loads(done.stdout)
    assert told["statuses"] == {"200": 120}
    assert told["kinds"].keys() == DEFAULT_SHARES.keys()
    assert told["verify"]["expected"] > 120
    assert told["verify"]["arrived"] == told["verify"]["expected"]
    assert (told["verify"]["lost"], told["verify"]["duplicates"], told["verify"]["strays"]) == (0, 0, 0)
    assert told["verify"]["expected"] < told["changes"]
    assert told["verify"]["posts"] < told["verify"]["expected"]
