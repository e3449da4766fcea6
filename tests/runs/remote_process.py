"""``python -m tests.runs.remote_process FOLDER WHAT``: a run that waits to be killed, or for a line on its input."""

import sys
import time
from pathlib import Path

import django

django.setup()

from ops.models import Run  # noqa: E402
from ops.runs.recorder import RunRecorder  # noqa: E402
from ops.utils.progress import Progress, Stage  # noqa: E402
from tests.runs.support import (  # noqa: E402
    engine_in,
    recorded,
    repository_in,
    request,
)


def back_up(recorder: RunRecorder, folder: Path) -> None:
    recorder.report(Progress(stage=Stage.DUMP, done=3, total=10))
    recorder.reserve_file("lab_20260301_120000.sql")
    (folder / "backups" / "lab_20260301_120000.sql.partial").write_text("half of the r")


def restore(recorder: RunRecorder, folder: Path) -> None:
    """The only database of the tests serves as the staging database."""
    recorder.prepare_history()
    recorder.report(Progress(stage=Stage.CUT_OVER))
    recorder.point_of_no_return()
    recorder.write_history()


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    kind, operate = {"backup": (Run.Kind.BACKUP, back_up), "restore": (Run.Kind.RESTORE, restore)}[sys.argv[2]]
    run = request(kind)
    with recorded(run, engine=engine_in(folder), repository=repository_in(folder)) as recorder:
        operate(recorder, folder)
        while not Run.objects.filter(pk=run.pk, stage=run.stage).exists():
            time.sleep(0.05)
        sys.stdout.write("running\n")
        sys.stdout.flush()
        time.sleep(60)
