"""Scheduled and queued runs, executed by a real worker."""

import contextlib
import json
import os
import signal
import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.celery.support import Running, is_stopped, manage, running, wait_for
from tests.celery.test_beat import BEAT, WORKER


@pytest.fixture
def backups(tmp_path: Path) -> Path:
    return tmp_path / "backups"


def shell(home: Path, code: str, **changes: str) -> Any:
    """What `code` leaves in `answer`, as JSON."""
    program = f"import json; from django_celery_beat.models import *; from ops.models import Run\n{code}\n"
    completed = manage(home, "shell", "--no-imports", "--command", program + "print(json.dumps(answer))", **changes)
    assert completed.returncode == 0, completed.stderr
    return json.loads(completed.stdout)


def status_of_run(home: Path) -> str | None:
    """That of the only run, which is read without a program of its own."""
    with contextlib.closing(sqlite3.connect(home / "homerack.db")) as connection:
        row = connection.execute("SELECT status FROM ops_run").fetchone()
    return str(row[0]) if row else None


RUNS = """
fields = "kind", "status", "origin", "requested_by", "error"
answer = list(Run.objects.order_by("requested_at").values_list(*fields))
"""


def test_scheduled_backup_is_made(home: Path, backups: Path, redis_url: str) -> None:
    shell(
        home,
        "import datetime as dt\nfrom django.utils import timezone\n"
        "overdue = PeriodicTask.objects.filter(name='Back up')\n"
        "answer = overdue.update(last_run_at=timezone.now() - dt.timedelta(days=2))",
    )
    settings = {"REDIS_URL": redis_url, "BACKUP_DIR": str(backups)}
    with running(home, "worker", *WORKER, **settings) as worker, running(home, "beat", *BEAT, **settings):
        wait_for(lambda: list(backups.glob("homerack_*.json")), worker)
        wait_for(lambda: status_of_run(home) == "succeeded", worker)
    assert shell(home, RUNS, **settings) == [["backup", "succeeded", "schedule", "scheduler", ""]]


def test_other_scheduled_tasks_succeed(home: Path, backups: Path, redis_url: str) -> None:
    settings = {"REDIS_URL": redis_url, "BACKUP_DIR": str(backups)}
    with running(home, "worker", *WORKER, **settings):
        names = ("restore_test", "drop_expired_previous", "reconcile", "back_up", "prune", "restore_test")
        code = "from ops import tasks\n" + "".join(
            f"tasks.{name}.apply_async(ignore_result=False).get(timeout=60)\n" for name in names
        )
        assert shell(home, code + "answer = True", **settings)
    done = [run[:3] for run in shell(home, RUNS, **settings)]
    assert done == [[kind, "succeeded", "schedule"] for kind in ("backup", "prune", "restore_test")]


ASK = """
from django.contrib.auth import get_user_model
from ops import tasks
from ops.runs import executor
get_user_model().objects.create_superuser("ada@example.com", "a-long-password")
run, _ = executor.queue(Run(kind=Run.Kind.BACKUP, requested_by="ada@example.com", origin=Run.Origin.ADMIN))
tasks.enqueue(run.pk)
answer = str(run.pk)
"""
STATE = """
from ops.models import Backup
answer = [*(Run.objects.values_list("status", "error").first() or ()), Backup.objects.count()]
"""


def kill(worker: Running) -> None:
    """The worker with its pool, as when the machine loses its power."""
    for pid in [worker.process.pid, *worker.descendants()]:
        os.kill(pid, signal.SIGKILL)
    worker.process.wait(timeout=40)


@pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")
def test_backup_of_a_killed_worker_is_interrupted_and_leaves_nothing(home: Path, backups: Path, redis_url: str) -> None:
    settings = {"REDIS_URL": redis_url, "BACKUP_DIR": str(backups)}
    with running(home, "worker", *WORKER, STOP_AT="verify", **settings) as worker:
        shell(home, ASK, **settings)
        wait_for(lambda: any(map(is_stopped, worker.descendants())), worker)
        assert list(backups.glob("homerack_*.gz"))
        kill(worker)
    assert shell(home, STATE, **settings) == ["running", "", 0]

    reconcile = "from ops import tasks\ntasks.reconcile()\n"
    status, error, listed = shell(home, reconcile + STATE, **settings)
    assert (status, listed) == ("interrupted", 0)
    assert "was killed" in error
    assert list(backups.glob("homerack_*")) == []


def test_worker_rebuilds_the_index_when_it_starts(home: Path, backups: Path, redis_url: str) -> None:
    settings = {"REDIS_URL": redis_url, "BACKUP_DIR": str(backups)}
    assert manage(home, "backup_database", **settings).returncode == 0
    shell(
        home,
        "from ops.models import Backup\nBackup.objects.all().delete(); Run.objects.all().delete(); answer = 0",
        **settings,
    )
    with running(home, "worker", *WORKER, **settings) as worker:
        wait_for(lambda: status_of_run(home) == "succeeded", worker)
        wait_for(lambda: shell(home, STATE, **settings) == ["succeeded", "", 1], worker)


DEACTIVATE = """
from django.contrib.auth import get_user_model
get_user_model().objects.filter(email="ada@example.com").update(is_active=False)
"""


def test_worker_refuses_the_queued_run_of_a_deactivated_user(home: Path, backups: Path, redis_url: str) -> None:
    settings = {"REDIS_URL": redis_url, "BACKUP_DIR": str(backups)}
    shell(home, ASK + DEACTIVATE, **settings)
    refused = "ada@example.com requested it, but this user may no longer use the admin. Nothing was changed."
    with running(home, "worker", *WORKER, **settings) as worker:
        wait_for(lambda: status_of_run(home) == "failed", worker)
    assert shell(home, STATE, **settings) == ["failed", refused, 0]
    assert list(backups.glob("homerack_*")) == []
