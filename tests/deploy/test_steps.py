"""The runner of the steps, in a script whose step takes a while."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.machine import ROOT

SCRIPT = """
set -euo pipefail
root=$1
source "$2"
roll_back() { touch "$root/rolled back"; say "Rolled back."; }
show_next_steps() { say "Next."; }
in_function() { touch "$root/waiting"; until [[ -e $root/enough ]]; do sleep 0.05; done; }
wait_for_long() { quietly in_function; }
begin "test"
step "Wait" wait_for_long
succeed
"""


@pytest.fixture
def script(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """A script in its step."""
    with subprocess.Popen(
        ["bash", "-c", SCRIPT, "bash", tmp_path, ROOT / "ops/deploy/steps.sh"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        while not (tmp_path / "waiting").exists():
            assert process.poll() is None
        yield process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_step_is_rolled_back_and_reported(script: "subprocess.Popen[str]", number: int) -> None:
    os.killpg(script.pid, number)
    text, _ = script.communicate(timeout=60)
    assert script.returncode == 1
    assert "✗ Wait failed: Interrupted." in text
    assert text.endswith("Nothing was changed.\nRolled back.\n")


def test_step_whose_output_nobody_reads_is_rolled_back(script: "subprocess.Popen[str]", tmp_path: Path) -> None:
    assert script.stdout
    script.stdout.close()
    (tmp_path / "enough").touch()
    script.wait()
    assert script.returncode == 1
    assert (tmp_path / "rolled back").exists()
