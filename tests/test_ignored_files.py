"""Git does not show what the commands leave in a checkout."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.celery.support import manage, served

ROOT = Path(__file__).resolve().parents[1]
OPERATIONS = """
from django.core.management import call_command as call
call("backup_database", verbosity=0)
call("backup_database", verbosity=0)
call("restore_database", latest=True, yes=True, verbosity=0)
call("undo_restore", yes=True, verbosity=0)
"""


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture
def checkout(migrated: Path, tmp_path: Path) -> Path:
    """A checkout with nothing but .gitignore, and a database in it as `make run` makes it."""
    git(tmp_path, "init", "--quiet", "checkout")
    folder = tmp_path / "checkout"
    shutil.copy(ROOT / ".gitignore", folder)
    git(folder, "add", ".gitignore")
    shutil.copy(migrated / "homerack.db", folder)
    return folder


def untracked(folder: Path) -> list[str]:
    found = git(folder, "status", "--porcelain", "-uall").splitlines()
    # The log is of `served`, not of HomeRack.
    return [line for line in found if line.startswith("??") and not line.startswith("?? serve-")]


@pytest.mark.slow
def test_backups_restores_and_the_running_site_leave_nothing_untracked(checkout: Path) -> None:
    backups = {"BACKUP_DIR": str(checkout / "backups")}
    with served(checkout, **backups):
        done = manage(checkout, "shell", "--no-imports", "--command", OPERATIONS, **backups)
        assert done.returncode == 0, done.stderr
        assert (checkout / "homerack.db.ops-lock").exists()
        assert untracked(checkout) == []
    assert untracked(checkout) == []
