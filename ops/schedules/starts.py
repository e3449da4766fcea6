"""Starts of schedules, each of which happens once: the rows of django-celery-beat decide, by compare-and-swap.

Redis cannot decide. Its replicas are asynchronous: a leader that is lost may take the lock of beat with it, so that two
beats send for a moment; a message that a worker has taken may be there again, and one that was acknowledged may be
missing. So a beat sends a start only if no other has (`reserve`), and sends it again until a worker has begun it; and a
worker begins it only if no other has (`begin`). `last_run_at` of a row is when the start was sent, and
`total_run_count` how many starts were begun.

Needs django-celery-beat.
"""

import datetime as dt

from django.db.models import F
from django_celery_beat.models import PeriodicTask


def reserve(name: str, *, last: dt.datetime | None, now: dt.datetime) -> int | None:
    """Record that the schedule is started `now`. Returns the number of the start.

    None if it is off, or was started by another beat since `last`, which is what this one has read: None before the
    first start. Raises Django's database errors.
    """
    rows = PeriodicTask.objects.filter(name=name, enabled=True)
    if rows.filter(last_run_at=last).update(last_run_at=now) != 1:
        return None
    return wanted(name)


def begin(name: str, number: int) -> bool:
    """Record that start `number` of the schedule begins. False if it has begun before, or the schedule is off.

    Raises Django's database errors.
    """
    rows = PeriodicTask.objects.filter(name=name, enabled=True, total_run_count=number)
    return bool(rows.update(total_run_count=F("total_run_count") + 1))


def wanted(name: str) -> int | None:
    """The number of the next start that may begin; None of a schedule that is off. Raises Django's database errors."""
    number: int | None = (
        PeriodicTask.objects.filter(name=name, enabled=True).values_list("total_run_count", flat=True).first()
    )
    return number
