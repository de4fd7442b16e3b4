"""What the documents tell people to type: it can be parsed, by the shell and by the command itself."""

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import build_group
from gateway.core.breaker import TRANSITIONS

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "README.md", *(ROOT / "docs").glob("*.md")), key=lambda path: path.name)
GUIDES = [path for path in PAGES if "```sh\n" in path.read_text()]
UNIT = ROOT / "deploy/systemd/meta-webhook-gateway.service"


def blocks(guide: Path) -> list[str]:
    """Return the shell blocks of a document, lists' indentation taken away."""
    found = re.findall(r"^( *)```sh\n(.*?)^\1```$", guide.read_text(), re.MULTILINE | re.DOTALL)
    return [re.sub(rf"^{indent}", "", block, flags=re.MULTILINE) for indent, block in found]


def calls_of_gateway(guide: Path) -> list[list[str]]:
    """Return the arguments of every `gateway` command, whatever stands before and after it on its line."""
    names = "|".join(build_group().commands)
    # What stands in the running text, too: a runbook names commands there.
    inline = re.findall(r"(?<!`)`([^`]+)`(?!`)", guide.read_text())
    text = "\n".join((*blocks(guide), *(code.replace("\n", " ") for code in inline))).replace("\\\n", " ")
    found = re.findall(rf"gateway ((?:--config \S+ )?(?:{names})\b[^|\n]*)", text)
    return [shlex.split(call, comments=True) for call in found]


def options_of(command: Any) -> set[str]:
    return {option for parameter in command.params for option in parameter.opts}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_no_section_stands_twice(page: Path) -> None:
    outside_blocks = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    sections = re.findall(r"^## .*$", outside_blocks, re.MULTILINE)
    assert len(sections) == len(set(sections))


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.name)
def test_every_block_is_a_shell_script(guide: Path) -> None:
    assert blocks(guide)
    for block in blocks(guide):
        text = block.replace("<the repository>", "https://example.com/repository.git")
        checked = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
        assert checked.returncode == 0, block + checked.stderr


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.name)
def test_every_gateway_command_and_each_of_its_options_exists(guide: Path) -> None:
    for call in calls_of_gateway(guide):
        command: Any = build_group()
        words = call[2:] if call[0] == "--config" else call
        while words and hasattr(command, "commands"):
            name = words.pop(0)
            # Commands are imported when their context is made.
            command = command.commands[name].make_context(name, [], resilient_parsing=True).command
        assert {word for word in words if word.startswith("-")} <= options_of(command), call


def test_the_states_of_the_breaker_are_drawn_from_the_table() -> None:
    (drawn,) = re.findall(r"stateDiagram-v2\n(.*?)```", (ROOT / "docs/delivery.md").read_text(), re.DOTALL)
    wanted = ["[*] --> starting"] + [
        f"{before} --> {after} : {event}" for (before, event), after in TRANSITIONS.items()
    ]
    assert [line.strip() for line in drawn.splitlines()] == wanted


def test_the_hook_that_the_pages_name_is_there_and_may_be_run() -> None:
    text = "".join(guide.read_text() for guide in GUIDES)
    (hook,) = set(re.findall(r"/opt/meta-webhook-gateway/(deploy/\S+\.sh)", text))
    assert os.access(ROOT / hook, os.X_OK)


def test_the_unit_starts_what_the_page_installed() -> None:
    unit = UNIT.read_text()
    page = (ROOT / "docs/getting-started.md").read_text()
    (program,) = re.findall(r"^ExecStart=(\S+)/\.venv/bin/gateway run$", unit, re.MULTILINE)
    assert f"sudo git clone <the repository> {program}\n" in page
    assert f"sudo install -m 0644 {program}/{UNIT.relative_to(ROOT)} /etc/systemd/system/\n" in page
    assert "ExecReload=kill -HUP $MAINPID\n" in unit
    (user,) = re.findall(r"^User=(\S+)$", unit, re.MULTILINE)
    (state,) = re.findall(r"^StateDirectory=(\S+)$", unit, re.MULTILINE)
    assert f"sudo install -d -o {user} -g {user} -m 0700 /var/lib/{state}\n" in page
    (config,) = re.findall(r"^Environment=GATEWAY_CONFIG=(\S+)/gateway.yaml$", unit, re.MULTILINE)
    assert f"gateway init --production {config}\n" in page
