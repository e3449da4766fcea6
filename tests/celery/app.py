"""The project's Celery app with a task that leaves a trace. Used as ``celery -A tests.celery.app``."""

from pathlib import Path

import django

from homerack.celery import app

django.setup()


@app.task
def leave_trace(path: str) -> None:
    with Path(path).open("a") as trace:
        trace.write("ran\n")
