"""A small configuration that is right, for tests to spoil."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.settings.load import Loaded, load_settings

GOOD = """\
listen:
  address: "[::]:8443"
  max_connections: 4096
tls:
  certificate: certs/server.pem
  private_key: certs/server.key
  clients:
    meta:
      trust_anchors: [certs/meta.pem]
apps:
  main:
    path: /webhooks/main
    app_secrets: [{file: secrets/app_secret}]
    verify_token: {env: VERIFY_TOKEN}
targets:
  support:
    url: http://127.0.0.1:8080/whatsapp
    timeout: 10s
    retry:
      schedule: [1s, 5s, 30s]
routes:
  - field: messages
    to: [support]
unrouted: dead_letter
"""

Load = Callable[..., Loaded]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Return a directory with the secrets that the good configuration names."""
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "app_secret").write_text("app secret\n")
    (secrets / "empty").write_text("\n")
    (secrets / "two_lines").write_text("one\ntwo\n")
    (secrets / "key.pem").write_text("-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n")
    (secrets / "control").write_bytes(b"hunter2\x00hunter2")
    (secrets / "bom").write_bytes(b"\xef\xbb\xbfhunter2\n")
    (tmp_path / "ids.txt").write_text("# audited\n0123456\n\n1000*  # a shop\n")
    (tmp_path / "numbers.txt").write_text("4930901820\n+49 30\n")
    (tmp_path / "no_ids.txt").write_text("# nobody yet\n")
    return tmp_path


@pytest.fixture
def good() -> str:
    """Return the text of the good configuration."""
    return GOOD


@pytest.fixture
def load(site: Path) -> Load:
    """Return a function that writes a text (or bytes) to `gateway.yaml` and loads it."""

    def load_text(text: str | bytes, *, with_secrets: bool = True, **environ: str) -> Loaded:
        file = site / "gateway.yaml"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_settings(file, environ={"VERIFY_TOKEN": "token"} | environ, with_secrets=with_secrets)

    return load_text
