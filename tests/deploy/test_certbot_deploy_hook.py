"""The hook that certbot runs after a renewal: chain and key at once, for the service alone, or nothing."""

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from gateway.simulator.pki import make_pki

HOOK = Path(__file__).parents[2] / "deploy/certbot-deploy-hook.sh"


class Renewals:
    """What certbot keeps of one name: `live/NAME/*.pem`, links into `archive/NAME`, one number a renewal."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.live = directory / "letsencrypt/live/hooks.example.com"
        self._archive = directory / "letsencrypt/archive/hooks.example.com"
        self.certs = directory / "certs"
        self.live.mkdir(parents=True)
        self._archive.mkdir(parents=True)
        self._number = 0

    def renew(self) -> tuple[bytes, bytes]:
        """Put a new pair where certbot puts it; return chain and key."""
        self._number += 1
        pki = make_pki(self._directory / f"pki{self._number}")
        for name, file in (("fullchain", pki.server_certificate), ("privkey", pki.server_key)):
            kept = self._archive / f"{name}{self._number}.pem"
            shutil.copy(file, kept)
            link = self.live / f"{name}.pem"
            link.unlink(missing_ok=True)
            link.symlink_to(f"../../archive/hooks.example.com/{kept.name}")
        return pki.server_certificate.read_bytes(), pki.server_key.read_bytes()

    def run_hook(self, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run the hook as certbot does."""
        return subprocess.run(
            [HOOK],
            env={
                "PATH": os.environ["PATH"],
                "RENEWED_LINEAGE": str(self.live),
                "GATEWAY_CERTS": str(self.certs),
                "GATEWAY_GROUP": str(os.getgid()),
                **environ,
            },
            capture_output=True,
            text=True,
            check=False,
        )

    def installed(self) -> tuple[bytes, bytes]:
        """Return chain and key as the gateway reads them."""
        return (self.certs / "fullchain.pem").read_bytes(), (self.certs / "privkey.pem").read_bytes()


@pytest.fixture
def renewals(tmp_path: Path) -> Renewals:
    return Renewals(tmp_path)


def test_each_renewal_is_installed_as_a_whole_and_the_last_but_one_goes(renewals: Renewals) -> None:
    for _ in range(3):
        pair = renewals.renew()
        told = renewals.run_hook()
        assert told.returncode == 0, told.stderr
        assert renewals.installed() == pair
    names = {file.name for file in renewals.certs.iterdir()}
    assert {"fullchain.pem", "live", "privkey.pem"} < names
    assert [name.startswith(".pair.") for name in sorted(names)] == [True, True, False, False, False]


def test_the_service_alone_may_read_it_whatever_the_umask(renewals: Renewals) -> None:
    renewals.renew()
    former = os.umask(0)
    try:
        assert renewals.run_hook().returncode == 0
    finally:
        os.umask(former)
    for path in (renewals.certs, renewals.certs / "live/"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o750
    for name in ("fullchain.pem", "privkey.pem"):
        state = (renewals.certs / name).stat()
        assert (stat.S_IMODE(state.st_mode), state.st_gid) == (0o640, os.getgid())


def test_plain_files_become_links_and_what_else_lies_there_is_left_alone(renewals: Renewals) -> None:
    renewals.certs.mkdir(mode=0o700)
    for name in ("fullchain.pem", "privkey.pem", "meta-ca.pem"):
        (renewals.certs / name).write_text(name)
    pair = renewals.renew()
    assert renewals.run_hook().returncode == 0
    assert renewals.installed() == pair
    assert (renewals.certs / "meta-ca.pem").read_text() == "meta-ca.pem"
    assert stat.S_IMODE(renewals.certs.stat().st_mode) == 0o700


def test_half_a_pair_is_not_installed(renewals: Renewals) -> None:
    pair = renewals.renew()
    assert renewals.run_hook().returncode == 0
    old_key = (renewals.live / "privkey.pem").resolve()
    renewals.renew()
    (renewals.live / "privkey.pem").unlink()
    (renewals.live / "privkey.pem").symlink_to(old_key)
    told = renewals.run_hook()
    assert told.returncode == 1
    assert "nothing was changed" in told.stderr
    assert renewals.installed() == pair
    assert len(list(renewals.certs.glob(".pair.*"))) == 1
    (renewals.live / "privkey.pem").unlink()
    assert renewals.run_hook().returncode != 0
    assert renewals.installed() == pair
    assert len(list(renewals.certs.glob(".pair.*"))) == 1


def test_without_certbot_it_says_what_is_missing(renewals: Renewals) -> None:
    told = renewals.run_hook(RENEWED_LINEAGE="")
    assert told.returncode != 0
    assert "RENEWED_LINEAGE" in told.stderr
    assert not renewals.certs.exists()


def test_a_reader_never_meets_half_a_pair(renewals: Renewals) -> None:
    """Two names that lead through one link: read them while the link is turned, and they belong together."""
    pairs = [renewals.renew()]
    assert renewals.run_hook().returncode == 0
    pairs.append(renewals.renew())
    met = []
    with subprocess.Popen(
        [HOOK],
        env={
            "PATH": os.environ["PATH"],
            "RENEWED_LINEAGE": str(renewals.live),
            "GATEWAY_CERTS": str(renewals.certs),
            "GATEWAY_GROUP": str(os.getgid()),
        },
        stderr=subprocess.DEVNULL,
    ) as hook:
        while hook.poll() is None:
            now = (renewals.certs / "live").resolve()
            met.append(((now / "fullchain.pem").read_bytes(), (now / "privkey.pem").read_bytes()))
    assert hook.returncode == 0
    assert set(met) <= set(pairs)
    assert renewals.installed() == pairs[1]
