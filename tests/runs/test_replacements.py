"""Which runs have replaced the live database, by the event log."""

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from ops.models import Run
from ops.runs import event_log
from ops.utils import clock
from tests.runs.support import repository_in

HOUR = dt.timedelta(hours=1)


def was_replaced(folder: Path, *, since: dt.timedelta = -HOUR, until: dt.timedelta = HOUR, **fields: Any) -> bool:
    """Whether the run with these `fields`, which ends now, has replaced the database ``lab`` between these times."""
    values = {"kind": Run.Kind.RESTORE, "status": Run.Status.SUCCEEDED, "database": "lab", "requested_by": "ada"}
    now = clock.now()
    run = Run(**{**values, "started_at": now, "finished_at": now, **fields})
    repository = repository_in(folder)
    event_log.record(repository, event_log.ENDED, run)
    return event_log.was_replaced(repository, database="lab", since=now + since, until=now + until)


@pytest.mark.parametrize("kind", [Run.Kind.RESTORE, Run.Kind.UNDO, Run.Kind.MIGRATION])
def test_restore_undo_and_migration_replace_the_database(tmp_path: Path, kind: Run.Kind) -> None:
    assert was_replaced(tmp_path, kind=kind)


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": Run.Kind.RESTORE_TEST},
        {"kind": Run.Kind.BACKUP},
        {"status": Run.Status.FAILED},
        {"database": "another"},
        {"arguments": {"to": "scratch"}},
        {"since": HOUR},
        {"until": -HOUR},
    ],
)
def test_other_runs_and_other_times_do_not(tmp_path: Path, fields: dict[str, Any]) -> None:
    assert not was_replaced(tmp_path, **fields)
