"""The documents, followed as a new user would: every command in an empty directory, or a reason why not."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest
import trustme

from gateway.simulator.process import free_ports

ROOT = Path(__file__).parent.parent.parent
DOCUMENTS = sorted(
    (path for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")) if "```sh\n" in path.read_text()),
    key=lambda path: path.name,
)
COMMAND_SECONDS = 60.0
BENCH_TARGET = re.findall(r"^  bench: .*\n", (ROOT / "docs/bench.md").read_text(), re.M)[0]

NOT_RUN = {
    r"^make (demo|test)\b": "the test suite itself; the demo has tests of its own",
    r"^\. \.venv/bin/activate": "the environment that the tests run in",
    r"sudo docker|<the repository>|^sudo sed .*gateway\.yaml": "needs Docker, or a repository on a server",
    r"apt-get|^sudo useradd|^cd /opt/|^sudo make |\bgit (rev-parse|pull|-C)": "changes this machine",
    r"^kubectl": "needs a cluster; tests/deploy looks at the manifests",
    r"certbot": "needs Let's Encrypt and a public name; tests/deploy runs the hook",
    r"^read ": "asks somebody to type",
    r"^sudoedit": "opens an editor",
    r"systemctl|journalctl": "needs systemd",
    r"127\.0\.0\.1:9090|hub\.mode|s_client": "asks the service on its server",
    r"^sudo nft|nginx -t": "changes this machine's network",
    r"graph\.facebook\.com|\bsubscriptions [a-z]": "asks Meta",
    r"staging\.(yaml|example)": "needs a staging deployment",
    r"promtool|/etc/prometheus": "needs Prometheus; make prometheus runs it",
    r"^jq ": "needs jq",
    r"status --watch": "goes on until Ctrl-C",
    r"recorder\.py|^gateway run &": "serves until it is stopped; make recipes runs it",
}
"""What is not run, and why. A row that no command needs fails the test, as a command does that is neither
here nor ends well."""

ENDS_WITH = {r"\b(doctor|status)\b": {0, 1}, r"\btrace\b": {1}}
"""Exit codes besides 0: the doctor finds problems where nothing is, and an id of a page is nobody's."""

IN_SHORT = {"--duration 30s": "--duration 1s", "--duration 5s": "--duration 1s", "--rate 300 ": "--rate 30 "}
"""So that it does not take minutes, on machines that have more to do."""

SYSTEM = re.compile(r"(?<![\w.-])/(etc|var|opt|usr|lib|root|home|boot)\b")
"""Where nothing of a test has to be."""

SHIMS = {
    "sudo": 'while true; do case "$1" in -u) shift 2;; *=*) export "$1"; shift;; *) exec "$@";; esac; done',
    # Nobody but root gives files away.
    "install": 'n=$#; while [ $n -gt 0 ]; do a="$1"; shift; n=$((n-1)); case "$a" in'
    ' -o|-g) shift; n=$((n-1));; *) set -- "$@" "$a";; esac; done; exec /usr/bin/install "$@"',
}


def statements(document: Path) -> Iterator[str]:
    """Return the commands of the shell blocks, each with all of its lines."""
    for indent, block in re.findall(r"^( *)```sh\n(.*?)^\1```$", document.read_text(), re.M | re.S):
        lines = iter(re.sub(rf"^{indent}", "", block, flags=re.M).splitlines())
        for line in lines:
            statement = line
            while statement.endswith(("\\", "|")):
                statement += "\n" + next(lines)
            if "<<'EOF'" in statement:
                while not statement.endswith("\nEOF"):
                    statement += "\n" + next(lines)
            if statement.strip() and not statement.startswith("#"):
                yield statement


def reasons(statement: str) -> list[str]:
    return [pattern for pattern in NOT_RUN if re.search(pattern, statement)]


class Place:
    """An empty directory, and the root of a file system beside it."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.directory = directory / "home"
        self.root = directory / "root"
        self._stack = stack
        shims = directory / "shims"
        for path in (
            self.directory,
            shims,
            self.root / "etc/systemd/system",
            self.root / "etc/default",
            self.root / "var/lib",
        ):
            path.mkdir(parents=True)
        for name, text in SHIMS.items():
            (shims / name).write_text(f"#!/bin/sh\n{text}\n")
            (shims / name).chmod(0o755)
        programs = f"{shims}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.environ = {key: value for key, value in os.environ.items() if not key.startswith("GATEWAY_")}
        self.environ |= {"PATH": programs, "NO_COLOR": "1", "secret": "the app secret"}

    def translated(self, statement: str) -> str:
        """Put what stands at the root of the server into ours."""
        text = re.sub(r"(?<![\w/.])(/opt/meta-webhook-gateway/)?\.venv/bin/gateway", "gateway", statement)
        text = text.replace("/opt/meta-webhook-gateway/deploy", str(ROOT / "deploy"))
        text = re.sub(r"(?<![\w./-])/(etc|var/lib)(?=[/\s]|$)", rf"{self.root}/\1", text)
        for long, short in IN_SHORT.items():
            text = text.replace(long, short)
        return text

    def follow(self, statement: str) -> None:
        """Run one command, and have it end well."""
        text = self.translated(statement)
        ours = text.replace(str(self.root), "ours").replace(str(ROOT), "ours")
        assert not SYSTEM.search(ours), f"{statement}\nwould be done to this machine: see NOT_RUN"
        if re.match(r"gateway (--config \S+ )?run\b", text):
            self.serve(text)
            return
        done = subprocess.run(
            ["bash", "-c", text],
            cwd=self.directory,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        allowed = next((codes for pattern, codes in ENDS_WITH.items() if re.search(pattern, text)), {0})
        assert done.returncode in allowed, f"{statement}\n{done.stdout}\n{done.stderr}"
        if re.search(r"gateway init (?!--production)", text):
            self.move_ports()
        elif re.search(r"gateway init --production", text):
            config = self.root / "etc/meta-webhook-gateway/gateway.yaml"
            config.write_text(config.read_text().replace("/var/lib", f"{self.root}/var/lib"))

    def init(self) -> None:
        """Do what the documents presume: `gateway init my-gateway`."""
        self.follow("gateway init my-gateway")

    def move_ports(self) -> None:
        """Listen where nobody else on this machine does."""
        config = self.directory / "my-gateway/gateway.yaml"
        port, admin = free_ports(2)
        text = config.read_text().replace("127.0.0.1:8443", f"127.0.0.1:{port}")
        config.write_text(f'{text}\nadmin: {{address: "127.0.0.1:{admin}"}}\n')

    def serve(self, text: str) -> None:
        """Start `gateway run` in another terminal, so to speak."""
        process = self._stack.enter_context(
            subprocess.Popen(
                ["bash", "-c", f"exec {text.partition('#')[0]}"],
                cwd=self.directory,
                env=self.environ,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        )
        self._stack.callback(process.kill)  # to wait for what it has under way would take its time
        assert process.stdout is not None
        assert process.stdout.readline().startswith("callback URL of app main: ")


def bench(place: Place) -> None:
    """The README's gateway, with the target that the page names."""
    place.init()
    config = place.directory / "my-gateway/gateway.yaml"
    target = BENCH_TARGET.replace("8099", str(free_ports(1)[0]))
    text = config.read_text().replace("targets:\n", "targets:\n" + target)
    config.write_text(text.replace("routes:\n", 'routes:\n  - {field: "*", to: [bench]}\n'))
    place.serve("gateway --config my-gateway/gateway.yaml run")


def delivery(place: Place) -> None:
    """A configuration that keeps what was delivered, and no gateway: the commands work on the spool."""
    place.init()
    config = place.directory / "my-gateway/gateway.yaml"
    config.write_text(config.read_text() + "spool: {keep_delivered: 1d}\n")
    place.environ["GATEWAY_CONFIG"] = str(config)
    place.serve("gateway run")  # so that there is a spool


def doctor(place: Place) -> None:
    place.init()
    (place.directory / "my-gateway").rename(place.directory / "x")
    for path in (place.directory / "x").iterdir():
        path.rename(place.directory / path.name)


def observing(place: Place) -> None:
    doctor(place)
    place.serve("gateway --config gateway.yaml run")


def getting_started(place: Place) -> None:
    """What other people's machines hand out: Let's Encrypt's certificate, and Meta's CA file."""
    authority = trustme.CA()
    server = authority.issue_cert("hooks.example.com")
    certs = place.root / "etc/meta-webhook-gateway/certs"
    certs.mkdir(parents=True)
    server.private_key_pem.write_to_path(certs / "privkey.pem")
    for blob in (*server.cert_chain_pems, authority.cert_pem):
        blob.write_to_path(certs / "fullchain.pem", append=True)
    authority.cert_pem.write_to_path(place.directory / "meta-outbound-api-ca-2025-12.pem")


def operations(place: Place) -> None:
    """A gateway that was installed as the first page says."""
    getting_started(place)
    place.follow("sudo -u gateway gateway init --production /etc/meta-webhook-gateway")
    etc = place.root / "etc/meta-webhook-gateway"
    (etc / "secrets/app_secret").write_text("the app secret")
    anchor = place.directory / "meta-outbound-api-ca-2025-12.pem"
    anchor.rename(etc / "certs" / anchor.name)
    (place.root / "var/lib/meta-webhook-gateway").mkdir()
    place.environ["GATEWAY_CONFIG"] = str(etc / "gateway.yaml")


def moving_in(place: Place) -> None:
    (place.directory / "certs").mkdir()
    for name in ("old.ids", "gateway.ids"):
        (place.directory / name).write_text("wamid.b\nwamid.a\nwamid.a\n")


SCENES: Mapping[str, Callable[[Place], None]] = {
    "bench.md": bench,
    "delivery.md": delivery,
    "doctor.md": doctor,
    "getting-started.md": getting_started,
    "moving-in.md": moving_in,
    "observing.md": observing,
    "operations.md": operations,
}
"""What a page presumes; nothing where it is not here."""


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_of_the_documents_does_what_it_says(document: Path, tmp_path: Path) -> None:
    commands = [one for one in statements(document) if not reasons(one)]
    if not commands:
        pytest.skip("nothing on it can be run here: NOT_RUN has the reasons")
    with ExitStack() as stack:
        place = Place(tmp_path, stack)
        if document.name in SCENES:
            SCENES[document.name](place)
        for command in commands:
            place.follow(command)


def test_every_reason_not_to_run_a_command_is_still_needed() -> None:
    needed = {pattern for document in DOCUMENTS for one in statements(document) for pattern in reasons(one)}
    assert needed == NOT_RUN.keys()


def test_every_shell_block_is_marked_as_one() -> None:
    """Others would be looked at by nobody."""
    for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        assert not re.search(r"^ *```(bash|shell|console|zsh)$", path.read_text(), re.M), path
        for language, block in re.findall(r"^ *```(\w*)\n(.*?)^ *```$", path.read_text(), re.M | re.S):
            if language != "sh":
                assert not re.search(r"^ *(\$ )?(sudo|gateway|curl) \S", block, re.M), f"{path}: {block}"
