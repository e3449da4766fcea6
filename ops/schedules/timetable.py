"""When schedules are due, from the rows of django-celery-beat. Needs that app, but for `is_installed`."""

import datetime as dt
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.utils import timezone

from ops.utils import clock

if TYPE_CHECKING:
    from django_celery_beat.models import PeriodicTask

LEADER_LOCK = "ops:beat"
"""The key in Redis that the beat which starts tasks renews at each tick."""
GRACE_PERIOD = dt.timedelta(minutes=10)
"""How long after it was due a schedule that did not start counts as missed."""


def is_installed() -> bool:
    return apps.is_installed("django_celery_beat")


def next_run(task: "PeriodicTask") -> dt.datetime | None:
    """When beat starts `task` next: in the past if that is overdue, None if it never will. Rounded to a second.

    Counted from the last start, as beat does, or from the last change of the row if there was none.
    """
    now = timezone.now()
    is_spent = task.one_off and task.total_run_count > 0
    schedule = schedule_of(task)
    if not task.enabled or is_spent or schedule is None or (task.expires and task.expires <= now):
        return None
    if task.start_time and task.start_time > now:
        return round_to_second(task.due_start_time(timezone.get_default_timezone()))
    if task.start_time and not task.last_run_at:
        return round_to_second(task.start_time)
    zone = getattr(schedule, "tz", None) or timezone.get_default_timezone()
    since = (task.last_run_at or task.date_changed).astimezone(zone)
    return round_to_second(timezone.now() + schedule.remaining_estimate(since))


def schedule_of(task: "PeriodicTask") -> Any:
    """Celery's; None without one, and for 31 February and other times that do not exist, which beat omits, too."""
    try:
        return task.schedule if task.scheduler else None
    except ValueError:
        return None


def round_to_second(moment: dt.datetime) -> dt.datetime:
    """`moment` without the time that its computation took: 02:00, not 01:59:59.99. With a zone."""
    return clock.aware(moment + dt.timedelta(seconds=0.5)).replace(microsecond=0)


def enabled_tasks(alias: str) -> "Iterable[PeriodicTask]":
    """The enabled schedules, in one query."""
    from django_celery_beat.models import PeriodicTask  # noqa: PLC0415  # may not be installed

    related = ("interval", "crontab", "solar", "clocked")
    enabled: Iterable[PeriodicTask] = PeriodicTask.objects.using(alias).filter(enabled=True).select_related(*related)
    return enabled


def is_missed(due: dt.datetime | None, now: dt.datetime) -> bool:
    return due is not None and due < now - GRACE_PERIOD


def scheduled_days(task: "PeriodicTask", days: Iterable[dt.date]) -> set[dt.date]:
    """Those of `days` on which `task` is scheduled; none for those without days, such as solar events."""
    if task.interval:
        return set(days) if task.interval.schedule.run_every <= dt.timedelta(days=1) else set()
    crontab = schedule_of(task) if task.crontab else None
    return {
        day
        for day in days
        if crontab is not None
        and day.isoweekday() % 7 in crontab.day_of_week
        and day.day in crontab.day_of_month
        and day.month in crontab.month_of_year
    }


def find_missed(alias: str) -> list[tuple[str, dt.datetime]]:
    """The name of each missed schedule and when it was due, the longest overdue first."""
    now = clock.now()
    due = [(task.name, next_run(task)) for task in enabled_tasks(alias)]
    return sorted(((name, when) for name, when in due if when and is_missed(when, now)), key=lambda missed: missed[1])
