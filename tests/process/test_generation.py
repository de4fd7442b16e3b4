"""What one configuration makes, and what of it is the same object in the next."""

import json
from pathlib import Path

import pytest

from gateway.process.generation import Generation, build_generation, callback_urls
from gateway.settings.load import load_settings
from gateway.simulator.pki import make_pki

SECRET = b"correct-horse-battery-staple"
HERE = [("127.0.0.1", 8443)]


class Site:
    """A configuration with all its files."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.anchors = [directory / "certs/meta-ca.pem"]
        self.public_url: str | None = None
        self.timeout = "10s"
        pki = make_pki(directory / "certs")
        (directory / "ca.pem").write_bytes(pki.server_ca.read_bytes())

    def build(self, former: Generation | None = None) -> Generation:
        certs = self.directory / "certs"
        config = {
            "listen": {"public_url": self.public_url} if self.public_url else {},
            "tls": {
                "certificate": str(certs / "server.pem"),
                "private_key": str(certs / "server.key"),
                "clients": {"meta": {"trust_anchors": [str(path) for path in self.anchors]}},
            },
            "apps": {"main": {"path": "/a", "app_secrets": [{"env": "S"}], "verify_token": {"env": "S"}}},
            "targets": {
                "plain": {"url": "http://a/", "timeout": self.timeout},
                "secure": {"url": "https://a/", "tls": {"ca": str(self.directory / "ca.pem")}},
            },
            "routes": [{"to": ["plain", "secure"]}],
        }
        file = self.directory / "gateway.yaml"
        file.write_text(json.dumps(config))
        return build_generation(load_settings(file, environ={"S": SECRET.decode()}), former=former)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_it_shows_no_secret(site: Site) -> None:
    assert SECRET.decode() not in repr(site.build())


def test_a_target_is_the_same_object_until_its_settings_or_its_files_change(site: Site) -> None:
    first = site.build()
    second = site.build(first)
    assert dict(second.targets) == dict(first.targets)
    site.timeout = "3s"
    third = site.build(second)
    assert third.targets["plain"] is not first.targets["plain"]
    assert third.targets["secure"] is first.targets["secure"]
    (site.directory / "ca.pem").write_bytes((site.directory / "certs/meta-ca.pem").read_bytes())
    assert site.build(third).targets["secure"] is not first.targets["secure"]


def test_trust_is_the_same_until_entries_or_anchor_files_change(site: Site) -> None:
    first = site.build()
    site.timeout = "3s"
    second = site.build(first)
    assert second.is_trusting_as(first)
    other = make_pki(site.directory / "other")
    site.anchors.append(other.meta_ca)
    third = site.build(second)
    assert not third.is_trusting_as(second)
    other.meta_ca.write_bytes(other.server_ca.read_bytes())
    assert not site.build(third).is_trusting_as(third)


def test_callback_urls_follow_public_url_or_the_certificate(site: Site) -> None:
    assert callback_urls(site.build(), HERE) == {"main": "https://localhost:8443/a"}
    assert callback_urls(site.build(), [("::", 443)]) == {"main": "https://localhost/a"}
    site.public_url = "https://hooks.example.com"
    assert callback_urls(site.build(), HERE) == {"main": "https://hooks.example.com/a"}
