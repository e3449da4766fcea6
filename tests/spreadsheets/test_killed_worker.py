"""A worker that is killed in the middle of an import has imported nothing, and the page says so."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.celery.support import environment, manage

pytestmark = pytest.mark.slow

START = """
import io
from homerack.accounts.models import User
from homerack.spreadsheets import jobs
from homerack.spreadsheets.models import SpreadsheetImport, State
user = User.objects.create_superuser("ada@example.com", "a-password-of-the-tests")
text = "name\\n" + "\\n".join(f"Rack {number}" for number in range(20_000))
job = jobs.create(user, [("racks.csv", io.BytesIO(text.encode()))])
jobs.run(str(job.pk))
job.refresh_from_db()
assert job.state == State.PLANNED, job.note
assert jobs.confirm(job)
print(job.pk)
"""
LOOK = """
from homerack.inventory.models import Rack
from homerack.spreadsheets import jobs
from homerack.spreadsheets.models import SpreadsheetImport
job = SpreadsheetImport.objects.get()
print(jobs.give_up_if_killed(job))
job.refresh_from_db()
print(Rack.objects.count(), job.state, job.note)
"""


def test_a_killed_import_has_changed_nothing(migrated: Path, tmp_path: Path) -> None:
    database = (migrated / "homerack.db").read_bytes()
    (tmp_path / "homerack.db").write_bytes(database)
    # A worker is there, but this process takes its place.
    changes = {"BACKUP_DIR": str(tmp_path / "backups"), "REDIS_URL": "redis://127.0.0.1:1/0"}

    def shell(code: str) -> str:
        done = manage(tmp_path, "shell", "--no-imports", "--command", code, **changes)
        assert done.returncode == 0, done.stderr
        return done.stdout

    key = shell(START).strip()
    progress = tmp_path / "backups" / "imports" / key / "progress.json"
    progress.unlink(missing_ok=True)
    code = f"from homerack.spreadsheets import jobs; jobs.run({key!r})"
    command = [sys.executable, "manage.py", "shell", "--no-imports", "--command", code]
    with subprocess.Popen(command, env=environment(tmp_path, **changes)) as process:
        deadline = time.monotonic() + 60
        while not progress.exists() or '"writing"' not in progress.read_text():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGSTOP)
        assert shell(LOOK).split() == ["False", "0", "importing"]  # it holds its lock
        os.kill(process.pid, signal.SIGKILL)
    gave_up, outcome = shell(LOOK).splitlines()
    assert gave_up == "True"
    assert outcome.startswith("0 failed Its process has ended before it was done")
    assert not (tmp_path / "backups" / "imports" / key / "0").exists()
