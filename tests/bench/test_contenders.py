"""The configuration that the gateway is measured with."""

from pathlib import Path

from bench.contenders import gateway_config
from bench.ground import made_ground
from gateway.settings.load import load_settings


def test_the_gateways_configuration_is_one_that_it_loads(tmp_path: Path) -> None:
    config = tmp_path / "gateway.yaml"
    with made_ground(tmp_path) as ground:
        config.write_text(gateway_config(ground, directory=tmp_path, port=18443, admin=19090, target=18080))
        loaded = load_settings(config, environ={"BENCH_SECRET": ground.secret})
    assert loaded.settings.targets["sink"].url == "http://127.0.0.1:18080/sink"
    assert loaded.settings.spool.directory == tmp_path / "spool"
