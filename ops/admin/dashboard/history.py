"""The data of the calendar and the chart, from runs, which stay, and from backups, which are pruned."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import BigIntegerField, Count, Max, Q, QuerySet
from django.db.models.fields.json import KT
from django.db.models.functions import Cast, TruncDate

from ops.admin.dashboard.backup_calendar import DAYS, WEEKS, Day, first_day
from ops.admin.dashboard.charts import Point
from ops.models import IS_RESTORE_TESTED, Backup, Run
from ops.schedules import timetable

FAILED = Q(status__in=(Run.Status.FAILED, Run.Status.INTERRUPTED))
SUCCEEDED = Q(status=Run.Status.SUCCEEDED)


@dataclass(frozen=True, kw_only=True)
class History:
    days: Sequence[Day]
    sizes: Sequence[Point]


def read_history(*, today: dt.date, since: dt.datetime, schedules: Sequence[Any]) -> History:
    """The calendar's days from `since` on, and the largest backup of each. Two queries."""
    from_runs = {row["day"]: row for row in _runs_by_day(since)}
    from_backups = {row["day"]: row for row in _backups_by_day(since)}
    known = from_runs.keys() | from_backups.keys()
    begin = min(known, default=today)
    dates = [first_day(today) + dt.timedelta(days=number) for number in range(WEEKS * DAYS)]
    expected = {day for schedule in schedules for day in timetable.scheduled_days(schedule, dates)}
    days = [
        _day(
            date,
            from_runs.get(date, {}),
            from_backups.get(date, {}),
            expected=date >= begin and date in expected,
        )
        for date in dates
    ]
    largest = {
        date: max(rows.get(date, {}).get("largest") or 0 for rows in (from_runs, from_backups))
        for date in sorted(known)
    }
    return History(days=days, sizes=[Point(date=date, value=size) for date, size in largest.items() if size])


def _day(date: dt.date, runs: Mapping[str, Any], backups: Mapping[str, Any], *, expected: bool) -> Day:
    return Day(
        date=date,
        # The same backups from two sources: a run whose backup was pruned, and a backup whose run is unknown.
        made=max(runs.get("made", 0), backups.get("made", 0)),
        restore_tested=max(runs.get("restore_tested", 0), backups.get("restore_tested", 0)),
        failed=runs.get("failed", 0),
        expected=expected,
    )


def _runs_by_day(since: dt.datetime) -> QuerySet[Run, dict[str, Any]]:
    restored = (
        Run.objects.filter(SUCCEEDED, kind=Run.Kind.RESTORE_TEST, requested_at__gte=since)
        .exclude(backup="")
        .values("backup")
    )
    return (
        Run.objects.filter(kind=Run.Kind.BACKUP, requested_at__gte=since)
        .order_by()
        .values(day=TruncDate("requested_at"))
        .annotate(
            made=Count("pk", filter=SUCCEEDED),
            restore_tested=Count("pk", filter=SUCCEEDED & Q(backup__in=restored)),
            failed=Count("pk", filter=FAILED),
            largest=Max(Cast(KT("result__size"), BigIntegerField()), filter=SUCCEEDED),
        )
    )


def _backups_by_day(since: dt.datetime) -> QuerySet[Backup, dict[str, Any]]:
    return (
        Backup.objects.filter(taken_at__gte=since)
        .exclude(origin="upload")
        .order_by()
        .values(day=TruncDate("taken_at"))
        .annotate(
            made=Count("pk"),
            restore_tested=Count("pk", filter=IS_RESTORE_TESTED),
            largest=Max("size"),
        )
    )
