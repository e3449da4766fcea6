"""``make cluster``, which docs/high-availability.md leads through, and that nothing of it stays."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.programs import ROOT, Programs

pytestmark = pytest.mark.slow

SECONDS_TO_END = 20
Console = subprocess.Popen[str]


@pytest.fixture
def console(programs: Programs) -> Iterator[Console]:
    console = subprocess.Popen(
        [sys.executable, "-m", "tests.cluster"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    yield console
    console.kill()
    console.communicate()


def folder_of(text: str) -> Path:
    found = re.search(r"^Logs: (.*)/\*\.log$", text, re.MULTILINE)
    assert found, text
    return Path(found[1])


def processes_in(folder: Path) -> list[str]:
    """The command lines that name the folder."""
    lines = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(file.read_text().replace("\0", " "))
        except OSError:
            continue
    return [line for line in lines if str(folder) in line]


def wait_until_gone(folder: Path) -> None:
    deadline = time.monotonic() + SECONDS_TO_END
    while folder.exists() or processes_in(folder):
        assert time.monotonic() < deadline, processes_in(folder)
        time.sleep(0.2)


def test_console_fails_over_and_removes_the_cluster(console: Console) -> None:
    text, _ = console.communicate("switchover\nkill\nheal\nquit\n", timeout=240)
    assert re.search(r"^n[23] leads\. Waiting until the others follow it …$", text, re.MULTILINE)
    killed = re.search(r"^(n\d) was killed\. .*\n(n\d) leads\. 'heal' lets \1 return\.$", text, re.MULTILINE)
    assert killed
    assert f"{killed[2]}  port 1643{killed[2][1]}  leader         running" in text.rpartition("return.")[2]
    wait_until_gone(folder_of(text))


def test_cluster_ends_when_its_owner_is_killed(console: Console) -> None:
    assert console.stdout
    lines: list[str] = []
    while not (lines and lines[-1].startswith("'help' lists")):
        lines.append(console.stdout.readline())
        assert lines[-1], lines
    folder = folder_of("".join(lines))
    assert processes_in(folder)
    os.kill(console.pid, signal.SIGKILL)
    wait_until_gone(folder)
