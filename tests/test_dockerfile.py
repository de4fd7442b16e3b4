"""The Dockerfile: its build steps run in a clean directory, without a Docker engine; its promises hold."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCKERFILE = re.sub(r"\\\n\s*", " ", (ROOT / "Dockerfile").read_text())
BUILD, RUNTIME = [
    stage for stage in re.split(r"^(?=FROM )", DOCKERFILE, flags=re.MULTILINE) if "FROM" in stage
]


def instructions(stage: str, name: str) -> list[str]:
    """Return the arguments of every instruction of that name."""
    return re.findall(rf"^{name} (.+)$", stage, re.MULTILINE)


def test_both_stages_are_pinned_to_one_exact_image() -> None:
    images = {arguments.split()[0] for arguments in instructions(DOCKERFILE, "FROM")}
    assert len(images) == 1
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-[a-z]+", images.pop())


def test_the_container_is_not_root_and_checks_its_health_and_has_its_volumes() -> None:
    assert instructions(RUNTIME, "USER") == ["10001:10001"]
    (volumes,) = instructions(RUNTIME, "VOLUME")
    assert "/var/lib/gateway/spool" in volumes
    assert "/var/lib/gateway/dead-letter" in volumes
    (health,) = instructions(RUNTIME, "HEALTHCHECK")
    assert "/healthz" in health
    assert "STATE_DIRECTORY=/var/lib/gateway" in RUNTIME


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_build_steps_make_a_working_gateway_in_a_clean_directory(tmp_path: Path) -> None:
    source, target = tmp_path / "src", tmp_path / "opt" / "gateway"
    source.mkdir()
    for arguments in instructions(BUILD, "COPY"):
        *names, _ = arguments.split()
        for name in names:
            path = ROOT / name
            if path.is_dir():
                shutil.copytree(path, source / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(path, source / name)
    steps = instructions(BUILD, "RUN")
    assert len(steps) == 5
    for step in steps:
        command = [part.replace("/opt/gateway", str(target)) for part in shlex.split(step)]
        if command[0] == "python":
            command[0] = sys.executable
        subprocess.run(command, cwd=source, check=True, capture_output=True, timeout=280)
    # As in the image: the source is gone, nothing may be written beside the code.
    shutil.rmtree(source)
    outcome = subprocess.run(
        [target / "bin" / "gateway", "--version"],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
        cwd=tmp_path,
    )
    assert outcome.stdout.startswith("gateway ")
    fields = subprocess.run(
        [target / "bin" / "gateway", "fields"],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
        cwd=tmp_path,
    )
    assert "account_review_update" in fields.stdout
    installed = {path.name.partition("-")[0] for path in target.glob("lib/python*/site-packages/*.dist-info")}
    assert "meta_webhook_gateway" in installed
    assert installed.isdisjoint({"pytest", "setuptools", "pip"})
