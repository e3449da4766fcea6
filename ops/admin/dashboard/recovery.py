"""The two numbers of the last restore tests: how long a restore takes, and how much would be lost."""

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import FloatField
from django.db.models.fields.json import KT
from django.db.models.functions import Cast
from django.utils import timezone
from django.utils.safestring import SafeString

from ops.admin.dashboard.charts import Point, draw_durations
from ops.models import Run
from ops.utils.formatting import format_duration, format_timespan

TESTS = 26
"""Half a year of weekly tests."""
RECOVERY_TIME = Cast(KT("result__tests__0__recovery_time"), FloatField())
"""Of a run; NULL unless it is a restore test."""
TIME, LOSS = "Time to restore (RTO)", "Possible data loss (RPO)"


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A restore test that passed: seconds, and the location whose copy was tested."""

    finished_at: dt.datetime
    location: str
    recovery_time: float
    recovery_point_age: float | None


@dataclass(frozen=True, kw_only=True)
class Trend:
    """The newest value of one of the numbers, and a drawing of all."""

    title: str
    value: str
    note: str
    svg: SafeString


def read_measured() -> list[Measured]:
    """The last restore tests that passed, the newest first. One query."""
    rows: Any = (
        Run.objects.filter(kind=Run.Kind.RESTORE_TEST, status=Run.Status.SUCCEEDED, finished_at__isnull=False)
        .annotate(
            location=KT("result__tests__0__location"),
            recovery_time=RECOVERY_TIME,
            recovery_point_age=Cast(KT("result__tests__0__recovery_point_age"), FloatField()),
        )
        .exclude(recovery_time=None)
        .order_by("-requested_at")
        .values("finished_at", "location", "recovery_time", "recovery_point_age")
    )
    return [Measured(**row) for row in rows[:TESTS]]


def trends(measured: Sequence[Measured]) -> list[Trend]:
    """Nothing before the first restore test."""
    if not measured:
        return []
    newest = measured[0]
    time = Trend(
        title=TIME,
        value=format_duration(newest.recovery_time),
        note=f"with the copy in {newest.location}",
        svg=drawn(TIME, ((test, test.recovery_time) for test in measured)),
    )
    if newest.recovery_point_age is None:
        return [time]
    loss = Trend(
        title=LOSS,
        value=format_timespan(dt.timedelta(seconds=newest.recovery_point_age)),
        note=f"if only {newest.location} is left",
        svg=drawn(LOSS, ((test, test.recovery_point_age) for test in measured)),
    )
    return [time, loss]


def drawn(title: str, values: Iterable[tuple[Measured, float | None]]) -> SafeString:
    """The newest value of each day. The drawing escapes what it is given."""
    days: dict[dt.date, float] = {}
    for test, value in values:
        if value is not None:
            days.setdefault(timezone.localdate(test.finished_at), value)
    return SafeString(draw_durations([Point(date=date, value=days[date]) for date in sorted(days)], title))
