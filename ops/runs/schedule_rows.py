"""The rows of django-celery-beat for the schedules of ops.

What counts is next to the backups (`ops.stored_settings`): a restore replaces the rows by those of an earlier moment.
"""

import logging
from typing import TYPE_CHECKING, Any

from django.conf import settings

from ops import stored_settings
from ops.schedules import timetable
from ops.schedules.builtin import BUILT_IN, BuiltIn, Timing

if TYPE_CHECKING:
    from django_celery_beat.models import PeriodicTask

logger = logging.getLogger(__name__)

MINUTES = "minutes"


def apply_schedules(alias: str = "default") -> None:
    """Make the rows match what is stored; nothing where django-celery-beat is not installed.

    While the stored settings are ignored, schedules that exist keep their times. Raises Django's database errors.
    """
    if not timetable.is_installed():
        return
    stored, is_known = stored_settings.StoredSettings(), True
    try:
        stored = stored_settings.read()
    except stored_settings.StoredSettingsIgnored as error:
        logger.warning("%s", error.message)
        is_known = False
    rows = rows_by_name(alias)
    for schedule in BUILT_IN:
        timing = stored.schedules.get(schedule.task, schedule.default)
        row = rows.get(schedule.name)
        if row is None or (is_known and not matches(row, schedule, timing)):
            write(row, schedule, timing, alias=alias)


def rows_by_name(alias: str) -> "dict[str, PeriodicTask]":
    """All rows, in one query: also those that ops did not make."""
    from django_celery_beat.models import PeriodicTask  # noqa: PLC0415  # may not be installed

    rows = PeriodicTask.objects.using(alias).select_related("crontab", "interval", "solar", "clocked").order_by("name")
    return {row.name: row for row in rows}


def matches(row: "PeriodicTask", schedule: BuiltIn, timing: Timing | None) -> bool:
    clock: dict[str, Any] = {"every": schedule.every_minutes, "period": MINUTES} if timing is None else crontab(timing)
    found = row.interval if timing is None else row.crontab
    wanted = fields_of(schedule, timing)
    return (
        found is not None
        and all(str(getattr(found, name)) == str(value) for name, value in clock.items())
        and all(getattr(row, name) == value for name, value in wanted.items())
    )


def write(row: "PeriodicTask | None", schedule: BuiltIn, timing: Timing | None, *, alias: str) -> None:
    """Saving tells beat. Without a last start, the next one counts from the change: an earlier time of this day that
    was chosen is not overdue.
    """
    from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask  # noqa: PLC0415  # see above

    row = row or PeriodicTask(name=schedule.name)
    for name, value in fields_of(schedule, timing).items():
        setattr(row, name, value)
    row.interval = row.crontab = row.last_run_at = None
    if timing is None:
        intervals = IntervalSchedule.objects.using(alias)
        row.interval, _ = intervals.get_or_create(every=schedule.every_minutes, period=MINUTES)
    else:
        crontabs, fields = CrontabSchedule.objects.using(alias), crontab(timing)
        row.crontab = crontabs.filter(**fields).first() or crontabs.create(**fields)
    row.save(using=alias)


def fields_of(schedule: BuiltIn, timing: Timing | None) -> dict[str, Any]:
    return {
        "task": schedule.task,
        "description": schedule.description,
        "expire_seconds": schedule.expire_seconds,
        "enabled": timing is None or timing.enabled,
        # An older database may have rows that were changed in forms of celery-beat.
        **dict.fromkeys(("solar", "clocked", "start_time", "expires"), None),
        "one_off": False,
    }


def crontab(timing: Timing) -> dict[str, str]:
    return {**timing.crontab(), "timezone": settings.TIME_ZONE}
