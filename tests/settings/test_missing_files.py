"""What to do about a file that is not there depends on the key that names it."""

from pathlib import Path

import pytest

from gateway.cli.init.command import command as init
from gateway.preflight import load_and_examine
from gateway.settings.missing_files import ABSENT, remedy_for

WANTED = {
    "tls.certificate": "fullchain.pem",
    "tls.private_key": "privkey.pem",
    "tls.clients.meta.trust_anchors[0]": "download Meta's CA file",
    "apps.main.app_secrets[0].file": "put the app secret there (Meta's dashboard: App settings, Basic)",
    "apps.main.verify_token.file": "random string of your own",
}


def test_a_new_production_configuration_is_told_each_next_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    init(tmp_path, production=True)
    capsys.readouterr()
    (tmp_path / "secrets/verify_token").unlink()
    _, problems = load_and_examine(tmp_path / "gateway.yaml", environ={})
    told = {problem.key_path: problem.remedy for problem in problems}
    assert told.keys() == WANTED.keys()
    for key_path, words in WANTED.items():
        assert words in told[key_path]


def test_a_key_without_a_step_of_its_own_and_another_remedy_stay_as_they_are() -> None:
    assert remedy_for(("targets", "support", "tls", "ca"), ABSENT) == ABSENT
    assert remedy_for(("tls", "certificate"), "renew it") == "renew it"
    assert remedy_for(("tls", "certificates"), ABSENT) == ABSENT
