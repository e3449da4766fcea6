"""An installation gets the keys of its backups once, in a private file, and keeps those that it has."""

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ops.backups.encryption import recipient_of

ROOT = Path(__file__).parent.parent
NAMES = ["BACKUP_SIGNING_KEY", "BACKUP_AGE_IDENTITY"]


def make(argument: str, text: str = "", **environment: str) -> str:
    """The output of the program."""
    command = [sys.executable, "-m", "homerack.config.keys", argument]
    without = {name: value for name, value in os.environ.items() if not name.startswith(("BACKUP_", "DJANGO_"))}
    ended = subprocess.run(
        command, cwd=ROOT, env=without | environment, input=text, capture_output=True, text=True, check=True
    )
    return ended.stdout


def values(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines())


def test_new_file_has_all_keys_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    assert make(str(path)) == ""
    made = values(path.read_text())
    assert list(made) == ["DEBUG", "SECRET_KEY", *NAMES]
    assert min(len(made["SECRET_KEY"]), len(made["BACKUP_SIGNING_KEY"])) >= 50
    assert made["SECRET_KEY"] != made["BACKUP_SIGNING_KEY"]
    assert recipient_of(made["BACKUP_AGE_IDENTITY"]).startswith("age1")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.read_text()
    make(str(path))
    assert path.read_text() == before


def test_file_gets_only_what_it_and_the_environment_lack(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("SECRET_KEY=mine\n# BACKUP_AGE_IDENTITY=\nBACKUP_SIGNING_KEY=\nDEBUG=true")
    make(str(path), BACKUP_SIGNING_KEY_FILE="/run/secrets/key")
    kept, line = path.read_text().rsplit("\n", 2)[:2]
    assert kept == "SECRET_KEY=mine\n# BACKUP_AGE_IDENTITY=\nBACKUP_SIGNING_KEY=\nDEBUG=true"
    assert line.startswith("BACKUP_AGE_IDENTITY=AGE-SECRET-KEY-1")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", NAMES),
        ("BACKUP_SIGNING_KEY=\nBACKUP_AGE_IDENTITY= \n", NAMES),
        ("# BACKUP_SIGNING_KEY=x\nexport BACKUP_AGE_IDENTITY=x\n", NAMES[:1]),
        ("BACKUP_AGE_IDENTITY_FILE=/run/secrets/age\nBACKUP_SIGNING_KEY=x", []),
    ],
)
def test_missing_keys_are_printed_for_a_file_on_standard_input(text: str, expected: list[str]) -> None:
    assert re.findall(r"^(\w+)=\S{50,}$", make("-", text), re.MULTILINE) == expected


def test_added_keys_begin_on_a_new_line() -> None:
    text = "SECRET_KEY=mine"
    assert list(values(text + make("-", text))) == ["SECRET_KEY", *NAMES]


def test_first_make_run_and_the_deployment_make_keys() -> None:
    """Both run this program; the deployment before Django's checks, one of which warns of a missing key."""
    assert "-m homerack.config.keys .env" in (ROOT / "Makefile").read_text()
    steps = re.findall(r"^    step .* (\w+)$", (ROOT / "ops/deploy/deploy_production.sh").read_text(), re.MULTILINE)
    assert steps.index("make_missing_keys") == steps.index("check_settings") - 1
