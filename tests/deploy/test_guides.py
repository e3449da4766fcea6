"""Every command of the guides works: on a machine that is deployed, or before that, where it belongs there."""

import contextlib
import re
import sqlite3
import subprocess
from pathlib import Path

import pytest

from tests.deploy.machine import ROOT, SCRIPT, Machine, why_not

GUIDES = ("POSTGRESQL_QUICKSTART.md", "POSTGRESQL_MIGRATION.md")
SETTING_UP = (".env.production",)
WITH_SOMEBODY = ("NAME", "undo_restore`", "git pull", "docker compose")
"""What stands in a table and asks, or is tried by `test_deployment`."""


def text_of(guide: str) -> str:
    return (ROOT / "ops" / "deploy" / guide).read_text()


def in_consoles(guide: str) -> list[str]:
    """What stands behind a $, with as many further lines as make it a whole command."""
    blocks = re.findall(r"^```console\n(.*?)^```", text_of(guide), re.MULTILINE | re.DOTALL)
    return [whole(rest) for block in blocks for rest in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]]


def whole(text: str) -> str:
    """The command that `text` begins with; its output follows."""
    lines = text.splitlines()
    for number in range(1, len(lines) + 1):
        command = "\n".join(lines[:number])
        parsed = subprocess.run(["bash", "-nc", command], check=False, stderr=subprocess.DEVNULL)
        if parsed.returncode == 0 and not command.endswith("\\"):
            return command
    raise ValueError(f"This is no whole command: {text}")


def in_tables(guide: str) -> list[str]:
    """What a table says to type, without asking for a terminal."""
    cells = re.findall(r"^\| [^|]* \| (`(?:docker|ops|curl)[^|]*) \|$", text_of(guide), re.MULTILINE)
    typed = [cell for cell in cells if not any(word in cell for word in WITH_SOMEBODY)]
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


@pytest.fixture(scope="module")
def deployed(machine: Machine, lab: Path) -> Machine:
    """As `test_deployment` leaves it; without that, as a first deployment does."""
    if not machine.remains():
        ended = machine.run(SCRIPT, "--sqlite-path", str(lab))
        assert ended.code == 0, ended.text
    return machine


def test_the_settings_are_complete_when_the_quickstart_was_followed(empty_machine: Machine) -> None:
    assert len(SETUP) == 4
    for command in SETUP:
        ended = empty_machine.run("bash", "-c", command)
        assert ended.code == 0, ended.text
    said = empty_machine.run(SCRIPT, "--dry-run").text
    assert ".env.production" not in said.replace(str(empty_machine.folder), "")
    assert "is not set" not in said


def test_options_of_the_guides_exist(empty_machine: Machine) -> None:
    known = empty_machine.run(SCRIPT, "--help").text
    texts = "".join(map(text_of, GUIDES))
    named = set(re.findall(r"deploy_production\.sh.*? (--[a-z-]+)", texts))
    assert {"--dry-run", "--sqlite-path"} <= named
    assert not [option for option in named - {"--help"} if option not in known]


@pytest.mark.deploy
@pytest.mark.skipif(bool(why_not()), reason=why_not())
@pytest.mark.parametrize("command", RUNNING)
def test_a_command_works(deployed: Machine, command: str) -> None:
    ended = deployed.run("bash", "-c", command.replace("https://localhost", f"https://localhost:{deployed.https_port}"))
    assert ended.code == 0, ended.text


@pytest.mark.deploy
@pytest.mark.skipif(bool(why_not()), reason=why_not())
def test_the_way_back_to_sqlite_takes_the_lab_along(deployed: Machine) -> None:
    """The guide's last commands have written the file."""
    with contextlib.closing(sqlite3.connect(deployed.folder / "lab.db")) as file:
        assert file.execute("SELECT count(*) FROM devices").fetchone() == (60,)
        assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)
