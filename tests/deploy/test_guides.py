"""Every command of the guides works, on a deployed machine or before the deployment."""

import re
import shlex
from pathlib import Path

import pytest

from tests.deploy.machine import ROOT, SCRIPT, Machine, skip_reason

GUIDES = ("POSTGRESQL_QUICKSTART.md", "POSTGRESQL_MIGRATION.md")
SETTING_UP = (".env.production",)
INTERACTIVE = ("NAME", "undo_restore`", "git pull", "docker compose")
"""Parts of commands in tables that ask for confirmation, or that `test_deployment` runs."""


def text_of(guide: str) -> str:
    return (ROOT / "ops" / "deploy" / guide).read_text()


def in_consoles(guide: str) -> list[str]:
    """The commands after `$`, each with its continuation lines."""
    blocks = re.findall(r"^```console\n(.*?)^```", text_of(guide), re.MULTILINE | re.DOTALL)
    return [first_command(rest) for block in blocks for rest in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]]


def first_command(text: str) -> str:
    """The complete command at the start of `text`, whose output follows."""
    lines = text.splitlines()
    for number in range(1, len(lines) + 1):
        command = "\n".join(lines[:number])
        if is_complete(command):
            return command
    raise ValueError(f"No complete command: {text}")


def is_complete(command: str) -> bool:
    """Whether its quotes and loops are closed, and no line follows."""
    try:
        words = shlex.split(command)
    except ValueError:
        return False
    return words.count("do") == words.count("done")


def in_tables(guide: str) -> list[str]:
    """Commands in tables, without `-it`."""
    cells = re.findall(r"^\| [^|]* \| (`(?:docker|ops|curl)[^|]*) \|$", text_of(guide), re.MULTILINE)
    typed = [cell for cell in cells if not any(word in cell for word in INTERACTIVE)]
    return [re.findall(r"`([^`]+)`", cell)[0].replace(" -it ", " ") for cell in typed]


def commands() -> list[str]:
    return [command for guide in GUIDES for command in (*in_consoles(guide), *in_tables(guide))]


def is_deployment(command: str) -> bool:
    return command.startswith(SCRIPT) and "--dry-run" not in command


SETUP = [command for command in commands() if any(word in command for word in SETTING_UP)]
RUNNING = [command for command in commands() if command not in SETUP and not is_deployment(command)]


@pytest.fixture
def empty_machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_quickstart_fills_in_all_settings(empty_machine: Machine) -> None:
    assert len(SETUP) == 4
    for command in SETUP:
        ended = empty_machine.run("bash", "-c", command)
        assert ended.code == 0, ended.text
    output = empty_machine.run(SCRIPT, "--dry-run").text
    assert ".env.production" not in output.replace(str(empty_machine.folder), "")
    assert "is not set" not in output


def test_option_of_the_guides_exists(empty_machine: Machine) -> None:
    known = empty_machine.run(SCRIPT, "--help").text
    texts = "".join(map(text_of, GUIDES))
    named = set(re.findall(r"deploy_production\.sh.*? (--[a-z-]+)", texts))
    assert {"--dry-run", "--sqlite-path"} <= named
    assert not [option for option in named - {"--help"} if option not in known]


@pytest.mark.deploy
@pytest.mark.skipif(bool(skip_reason()), reason=skip_reason())
@pytest.mark.parametrize("command", RUNNING)
def test_command_of_the_guides_works(deployed: Machine, command: str) -> None:
    ended = deployed.run("bash", "-c", command.replace("https://localhost", f"https://localhost:{deployed.https_port}"))
    assert ended.code == 0, ended.text
