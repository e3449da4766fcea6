"""The runner of the steps, in a script whose step takes a while."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.backups.encryption import recipient_of
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


MAKE_KEYS = """
set -euo pipefail
root=$1 settings_file=$1/.env.production candidate_image=homerack:candidate python=$2
source "$3"
docker() { printf '%s\\n' "$*" >>"$root/arguments"; shift 6; "$python" "${@:2}"; }
roll_back() { :; }
show_next_steps() { :; }
begin "test"
step "Make the keys of backups that are not set" make_missing_keys
succeed
"""


def test_missing_keys_are_added_to_the_settings_once(tmp_path: Path) -> None:
    """Docker is a function that runs Python here."""
    script = (ROOT / "ops/deploy/deploy_production.sh").read_text()
    function = script[script.index("make_missing_keys() {") :].partition("\n}\n")[0] + "\n}\n"
    settings = tmp_path / ".env.production"
    settings.write_text("SECRET_KEY=mine\nBACKUP_SIGNING_KEY=\nHTTPS=true")
    settings.chmod(0o600)

    def run() -> str:
        command = ["bash", "-c", function + MAKE_KEYS, "bash", tmp_path, sys.executable, ROOT / "ops/deploy/steps.sh"]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    text = run()
    added = dict(line.split("=", 1) for line in settings.read_text().splitlines())
    assert text.count("was added to .env.production.") == 2
    assert len(added["BACKUP_SIGNING_KEY"]) > 50
    assert recipient_of(added["BACKUP_AGE_IDENTITY"])
    assert (added["SECRET_KEY"], added["HTTPS"], settings.stat().st_mode & 0o777) == ("mine", "true", 0o600)
    shown = text + (tmp_path / "test.log").read_text() + (tmp_path / "arguments").read_text()
    assert [name for name in ("BACKUP_SIGNING_KEY", "BACKUP_AGE_IDENTITY") if added[name] in shown] == []
    before = settings.read_text()
    assert "was added" not in run()
    assert settings.read_text() == before
