"""When schedules want a backup: the next time, and on which days."""

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Any

from ops.health.backups import BACKUP_TASK
from ops.schedules import timetable

DAY = dt.timedelta(days=1)


def backup_schedules(alias: str = "default") -> list[Any]:
    """django-celery-beat's rows that make backups, in one query; none where that app is not installed."""
    if not timetable.is_installed():
        return []
    return [task for task in timetable.enabled_tasks(alias) if task.task == BACKUP_TASK]


def next_due(tasks: Iterable[Any]) -> dt.datetime | None:
    """When the next backup is due; in the past where one was missed."""
    return min(filter(None, map(timetable.next_run, tasks)), default=None)


def is_missed(due: dt.datetime | None, now: dt.datetime) -> bool:
    return due is not None and due < now - timetable.GRACE


def wants(tasks: Sequence[Any], day: dt.date) -> bool:
    """Whether one of the schedules makes a backup on `day`. Those whose rhythm names no days say nothing."""
    return any(_wants(task, day) for task in tasks)


def _wants(task: Any, day: dt.date) -> bool:
    if task.interval:
        return bool(task.interval.schedule.run_every <= DAY)
    if not task.crontab:
        return False
    crontab = task.crontab.schedule
    return (
        day.isoweekday() % 7 in crontab.day_of_week
        and day.day in crontab.day_of_month
        and day.month in crontab.month_of_year
    )
