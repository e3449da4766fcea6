"""The project's Celery app with a task that writes to a file. Used as ``celery -A tests.celery.app``.

With STOP_AT in its environment a worker stops, as by SIGSTOP, where a run reports this stage. With LOCK_SECONDS the
lock of a beat that was killed expires after so many.
"""

import os
import signal
from pathlib import Path
from typing import Any

import django

from homerack.celery import app

django.setup()

if stage := os.environ.get("STOP_AT"):
    from ops.runs.recorder import RunRecorder

    original = RunRecorder.report

    def stopping(self: RunRecorder, progress: Any) -> None:
        original(self, progress)
        if progress.stage == stage:
            os.kill(os.getpid(), signal.SIGSTOP)

    RunRecorder.report = stopping  # type: ignore[method-assign]

if seconds := os.environ.get("LOCK_SECONDS"):
    from ops.schedules import beat

    beat.LOCK_TIMEOUT = int(seconds)
    beat.POLL_INTERVAL = int(seconds) / 3


@app.task
def leave_trace(path: str) -> None:
    with Path(path).open("a") as trace:
        trace.write("ran\n")
