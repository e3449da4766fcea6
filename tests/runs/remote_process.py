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


def back_up(recording: RunRecorder, folder: Path) -> None:
    recording.report(Progress(stage=Stage.DUMP, done=3, total=10))
    recording.reserve_file("lab_20260301_120000.sql")
    (folder / "backups" / "lab_20260301_120000.sql.partial").write_text("half of the r")


def restore(recording: RunRecorder, folder: Path) -> None:
    """The tests' only database stands for the one that is put in place."""
    recording.report(Progress(stage=Stage.CUT_OVER))
    recording.point_of_no_return()
    recording.write_history()


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    kind, work = {"backup": (Run.Kind.BACKUP, back_up), "restore": (Run.Kind.RESTORE, restore)}[sys.argv[2]]
    with recorded(request(kind), engine=engine_in(folder), repository=repository_in(folder)) as recording:
        work(recording, folder)
        time.sleep(0.8)  # until the row is written
        sys.stdout.write("under way\n")
        sys.stdout.flush()
        time.sleep(60)
