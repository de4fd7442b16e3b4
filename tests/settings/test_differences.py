"""What differs between two configurations, by name and never by value."""

from pathlib import Path

from gateway.settings.differences import differences
from gateway.settings.load import load_settings, write_key_path

BASE = """\
tls: {certificate: a, private_key: b, clients: {meta: {trust_anchors: [c]}}}
apps: {main: {path: /a, app_secrets: [{env: SECRET}], verify_token: {env: TOKEN}}}
targets: {support: {url: "http://a/"}}
routes: [{field: messages, to: [support]}]
"""


def changed(tmp_path: Path, text: str, *, secret: str = "s") -> list[str]:
    file = tmp_path / "gateway.yaml"
    loaded = []
    for content, value in ((BASE, "s"), (text, secret)):
        file.write_text(content)
        environ = {"SECRET": value, "TOKEN": "t"}
        loaded.append(load_settings(file, environ=environ, with_lists=False).settings)
    return [write_key_path(path) for path in differences(*loaded)]


def test_nothing_differs_from_itself(tmp_path: Path) -> None:
    assert changed(tmp_path, BASE) == []


def test_keys_are_named_as_the_file_writes_them(tmp_path: Path) -> None:
    other = BASE.replace('"http://a/"', '"http://a/", timeout: 3s, retry: {give_up_after: 1d}')
    assert changed(tmp_path, other) == ["targets.support.timeout", "targets.support.retry.give_up_after"]


def test_what_comes_goes_or_stands_in_a_list_is_named_as_a_whole(tmp_path: Path) -> None:
    other = BASE.replace("support", "audit").replace("field: messages, ", "")
    assert changed(tmp_path, other) == ["targets.support", "targets.audit", "routes"]


def test_a_section_that_comes_is_named(tmp_path: Path) -> None:
    assert changed(tmp_path, BASE + 'metrics: {address: "127.0.0.1:1"}\n') == ["metrics"]


def test_a_secret_with_another_value_differs(tmp_path: Path) -> None:
    assert changed(tmp_path, BASE, secret="other") == ["apps.main.app_secrets"]
