"""What is left of a configuration with mistakes."""

from pathlib import Path

import pytest

from gateway.settings.remainder import load_remainder

GOOD = """\
tls:
  certificate: server.pem
  private_key: server.key
  clients: {meta: {trust_anchors: [ca.pem]}}
apps:
  main: {path: /a, app_secrets: [{env: A}], verify_token: {env: B}}
targets:
  support: {url: "http://127.0.0.1:1/"}
  other: {url: "http://127.0.0.1:2/"}
routes:
  - {field: messages, to: [support]}
  - {field: security, to: [other]}
"""


def remainder(tmp_path: Path, text: str) -> list[str] | None:
    """Return the names of the targets that are left."""
    (tmp_path / "g.yaml").write_text(text)
    loaded = load_remainder(tmp_path / "g.yaml", environ={})
    return sorted(loaded.settings.targets) if loaded is not None else None


def test_a_sound_file_is_left_whole_without_its_secrets(tmp_path: Path) -> None:
    assert remainder(tmp_path, GOOD) == ["other", "support"]


@pytest.mark.parametrize(
    ("right", "wrong", "left"),
    [
        ('1/"}', '1/", timeout: soon}', ["other", "support"]),
        ("tls:\n", "listen: {limits: {per_address: 3, idle: 3}}\ntls:\n", ["other", "support"]),
        (
            "tls:\n",
            "listen: {address: nowhere, limits: {head_size: 2KiB}, x: y}\ntls:\n",
            ["other", "support"],
        ),
        ('1/"}', '1/", retry: {schedule: [1s, soon, 2s, never]}}', ["other", "support"]),
        ('1/"}', '1/", tls: {certificate: x}}', ["other", "support"]),
        ('url: "http://127.0.0.1:1/"', "timeout: 1s, concurrency: many", ["other"]),
        ('"http://127.0.0.1:1/"', "nonsense", ["other"]),
        ("field: messages, to: [support]", "field: messages", ["other", "support"]),
        ("apps:\n", "unknown: 1\napps:\n", ["other", "support"]),
        ("certificate: server.pem", "certificate: [1, 2]", None),
        ("tls:\n", "tls: 3\nx-rest:\n", None),
        ("{env: A}", "", None),
    ],
)
def test_what_is_wrong_goes_and_the_rest_stays(
    right: str, wrong: str, left: list[str] | None, tmp_path: Path
) -> None:
    assert right in GOOD
    assert remainder(tmp_path, GOOD.replace(right, wrong)) == left


@pytest.mark.parametrize("text", ["", "- a list", "a: [b", "tls: &a {x: *a}"])
def test_what_is_no_mapping_leaves_nothing(text: str, tmp_path: Path) -> None:
    assert remainder(tmp_path, text) is None


def test_a_file_that_is_not_there_leaves_nothing(tmp_path: Path) -> None:
    assert load_remainder(tmp_path / "none.yaml", environ={}) is None
