"""What runs the gateway elsewhere fits the gateway: configuration, users, volumes, ports, times.

That it is what its readers understand, they say themselves (`make deploy-check`).
"""

import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from gateway.settings.load import load_settings
from gateway.settings.model import Drain, Settings
from gateway.tls.activation import PUBLIC_NAME

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
UNIT = (ROOT / "deploy/systemd/meta-webhook-gateway.service").read_text()
SOCKET = (ROOT / "deploy/systemd/meta-webhook-gateway.socket").read_text()
MANIFESTS: list[dict[str, Any]] = list(
    YAML(typ="safe").load_all(ROOT / "deploy/kubernetes/meta-webhook-gateway.yaml")
)


def manifest(kind: str) -> dict[str, Any]:
    """Return the first manifest of a kind."""
    return next(one for one in MANIFESTS if one["kind"] == kind)


def pod() -> dict[str, Any]:
    spec: dict[str, Any] = manifest("StatefulSet")["spec"]["template"]["spec"]
    return spec


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Return what the ConfigMap configures."""
    file = tmp_path / "gateway.yaml"
    file.write_text(manifest("ConfigMap")["data"]["gateway.yaml"])
    return load_settings(file, environ={}, with_secrets=False).settings


def test_the_ports_of_the_pod_are_those_of_its_configuration(settings: Settings) -> None:
    (container,) = pod()["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert settings.metrics is not None
    assert ports == {"https": settings.listen.address.port, "metrics": settings.metrics.address.port}
    for probe, path in (
        ("startupProbe", "/readyz"),
        ("readinessProbe", "/readyz"),
        ("livenessProbe", "/healthz"),
    ):
        assert container[probe]["httpGet"] == {"path": path, "port": "metrics"}


def test_every_file_that_the_pods_configuration_names_is_mounted(settings: Settings) -> None:
    (container,) = pod()["containers"]
    mounted = [Path(mount["mountPath"]) for mount in container["volumeMounts"]]
    anchors = [path for client in settings.tls.clients.values() for path in client.trust_anchors]
    for file in (settings.tls.certificate, settings.tls.private_key, *anchors):
        assert any(mount in file.parents for mount in mounted), file
    (environment,) = container["env"]
    assert environment["name"] == "STATE_DIRECTORY"
    assert Path(environment["value"]) in mounted
    declared = re.findall(r'"(/[^"]+)"', re.findall(r"^VOLUME (.*)$", DOCKERFILE, re.MULTILINE)[0])
    assert not [path for path in declared if environment["value"] == path or path in environment["value"]]


def test_the_pod_has_the_images_user_and_no_rights() -> None:
    (user, group) = re.findall(r"^USER (\d+):(\d+)$", DOCKERFILE, re.MULTILINE)[0]
    context = pod()["securityContext"]
    assert (context["runAsUser"], context["runAsGroup"], context["fsGroup"]) == (
        int(user),
        int(group),
        int(group),
    )
    (container,) = pod()["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_everybody_waits_longer_for_the_end_than_the_gateway_takes(settings: Settings) -> None:
    drain = settings.listen.drain
    assert pod()["terminationGracePeriodSeconds"] > drain.delay_seconds + drain.timeout_seconds
    (stop_seconds,) = re.findall(r"^TimeoutStopSec=(\d+)s$", UNIT, re.MULTILINE)
    assert int(stop_seconds) > Drain().delay_seconds + Drain().timeout_seconds
    compose = YAML(typ="safe").load(ROOT / "deploy/compose.yaml")["services"]["gateway"]
    assert int(compose["stop_grace_period"].removesuffix("s")) > Drain().timeout_seconds


def test_the_compose_file_names_every_volume_of_the_image() -> None:
    compose = YAML(typ="safe").load(ROOT / "deploy/compose.yaml")
    mounted = dict(reversed(volume.split(":")[:2]) for volume in compose["services"]["gateway"]["volumes"])
    declared = re.findall(r'"(/[^"]+)"', re.findall(r"^VOLUME (.*)$", DOCKERFILE, re.MULTILINE)[0])
    assert {mounted[path] for path in declared} == compose["volumes"].keys()


def test_the_socket_unit_is_the_services_and_names_what_the_gateway_takes() -> None:
    assert f"FileDescriptorName={PUBLIC_NAME}\n" in SOCKET
    assert "Accept=yes" not in SOCKET
    assert "RestartPreventExitStatus=2\n" in UNIT
    assert "Type=notify\n" in UNIT
