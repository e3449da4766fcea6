"""What the schedules start, done by a real worker."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.celery.support import manage, running, wait_for
from tests.celery.test_beat import BEAT, WORKER


@pytest.fixture
def backups(tmp_path: Path) -> Path:
    return tmp_path / "backups"


def shell(home: Path, code: str, **changes: str) -> Any:
    """What `code` leaves in `answer`, as JSON."""
    program = f"import json; from django_celery_beat.models import *; from ops.models import Run\n{code}\n"
    told = manage(home, "shell", "--no-imports", "--command", program + "print(json.dumps(answer))", **changes)
    assert told.returncode == 0, told.stderr
    return json.loads(told.stdout)


RUNS = "answer = list(Run.objects.order_by('asked').values_list('kind', 'status', 'origin', 'who', 'error'))"


def test_a_schedule_fires_and_a_backup_is_there(home: Path, backups: Path, redis_url: str) -> None:
    shell(
        home,
        "PeriodicTask.objects.exclude(name='Back up').delete()\n"
        "second = IntervalSchedule.objects.create(every=1, period='seconds')\n"
        "PeriodicTask.objects.update(interval=second, crontab=None, one_off=True)\nanswer = 0",
    )
    places = {"REDIS_URL": redis_url, "BACKUP_DIR": str(backups)}
    with running(home, "worker", *WORKER, **places) as worker, running(home, "beat", *BEAT, **places):
        wait_for(lambda: list(backups.glob("homerack_*.json")), worker)
        wait_for(lambda: shell(home, RUNS, **places) == [["backup", "succeeded", "schedule", "schedule", ""]], worker)


def test_the_other_tasks_do_their_work(home: Path, backups: Path, redis_url: str) -> None:
    places = {"REDIS_URL": redis_url, "BACKUP_DIR": str(backups)}
    with running(home, "worker", *WORKER, **places):
        names = ("drill", "let_go_of_undo", "reconcile", "back_up", "prune", "drill")
        code = "from ops import tasks\n" + "".join(f"tasks.{name}.delay().get(timeout=60)\n" for name in names)
        assert shell(home, code + "answer = True", **places)
    done = [run[:3] for run in shell(home, RUNS, **places)]
    assert done == [[kind, "succeeded", "schedule"] for kind in ("backup", "prune", "drill")]
