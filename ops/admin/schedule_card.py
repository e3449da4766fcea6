"""What the page of schedules shows of each: what it is set to, when it starts next, and how its last run ended."""

import datetime as dt
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.utils.text import capfirst

from ops.admin.base import equivalent_command
from ops.admin.run_detail import BADGES, duration_of
from ops.admin.schedule_form import TimingForm
from ops.conf import conf, setting_name
from ops.models import Backup, Run
from ops.schedules import timetable
from ops.schedules.builtin import BUILT_IN, BuiltIn, Timing, describe
from ops.utils import clock
from ops.utils.formatting import (
    format_duration,
    format_local,
    format_past_day,
    format_timespan,
    format_upcoming,
    pluralize,
)

if TYPE_CHECKING:
    from django_celery_beat.models import PeriodicTask

BACK_UP = "ops.tasks.back_up"
RESTORE_TEST = "ops.tasks.restore_test"
HOUR = dt.timedelta(hours=1)
MAX_AGE = "BACKUP_MAX_AGE_HOURS"
DROP_EXPIRED = "ops.tasks.drop_expired_previous"


@dataclass(frozen=True)
class LastRun:
    run: Run

    @property
    def status(self) -> str:
        return str(self.run.get_status_display())

    @property
    def badge(self) -> str:
        return BADGES[Run.Status(self.run.status)]

    @property
    def time(self) -> str:
        return format_local(self.run.started_at or self.run.requested_at)

    @property
    def duration(self) -> str:
        return format_duration(duration_of(self.run)) if self.run.finished_at and self.run.started_at else ""


@dataclass(frozen=True, kw_only=True)
class ScheduleCard:
    """A schedule of ops. `row` is that of django-celery-beat, and `form` is None for users who may not change it."""

    schedule: BuiltIn
    timing: Timing | None
    row: "PeriodicTask | None"
    last: LastRun | None
    form: TimingForm | None
    may_run: bool
    is_known: bool
    """Whether `timing` is what is stored. If not, the row has the times that are in force."""

    @property
    def times(self) -> str:
        if not self.is_known and self.row:
            return capfirst(times_of(self.row))
        return capfirst(describe(self.timing)) if self.timing else capfirst(self.schedule.times)

    @property
    def is_default(self) -> bool:
        return self.timing == self.schedule.default

    @property
    def next_start(self) -> str:
        return describe_next(self.row)

    @property
    def is_overdue(self) -> bool:
        return self.row is not None and timetable.is_missed(timetable.next_run(self.row), clock.now())

    @property
    def idle(self) -> str:
        """Why no start does anything, or ''."""
        if Run.Kind.COPY in self.schedule.kinds and not conf.BACKUP_LOCATIONS:
            return (
                f"No other storage location is configured ({setting_name('BACKUP_LOCATIONS')}), so nothing is copied."
            )
        return ""

    @property
    def unrecorded(self) -> str:
        """Why no run may be recorded, or ''."""
        needs_backup = self.schedule.task == RESTORE_TEST
        return "" if needs_backup and Backup.objects.verified().exists() else self.schedule.unrecorded

    @property
    def command(self) -> str:
        return command_of(self.schedule)


@dataclass(frozen=True, kw_only=True)
class OtherSchedule:
    """One that ops did not make."""

    row: "PeriodicTask"

    @property
    def times(self) -> str:
        return times_of(self.row)

    @property
    def next_start(self) -> str:
        return describe_next(self.row)

    @property
    def last_start(self) -> str:
        return format_local(self.row.last_run_at) if self.row.last_run_at else "none so far"


def command_of(schedule: BuiltIn) -> str:
    """What does the same, where there is no worker; '' where no command does: only what has expired is dropped."""
    is_like_a_run = schedule.kinds and schedule.task != DROP_EXPIRED
    return equivalent_command(schedule.kinds[0], {}) if is_like_a_run else ""


def times_of(row: "PeriodicTask") -> str:
    return str(row.crontab.human_readable if row.crontab else row.scheduler or "never")


def describe_next(row: "PeriodicTask | None") -> str:
    """``tomorrow at 14:00, in 5 hours``, ``overdue since yesterday at 02:00``, ``off``."""
    if row is None:
        return "not planned"
    now, due = clock.now(), timetable.next_run(row)
    if due is None:
        return "never" if row.enabled else "off"
    if timetable.is_missed(due, now):
        return f"overdue since {format_past_day(due, now).removeprefix('on ')} at {format_local(due)[-5:]}"
    return f"{format_upcoming(due, now)}, in {format_timespan(due - now)}" if due > now else "now"


# --- Last runs ----------------------------------------------------------------------------------------------------
def last_runs() -> dict[str, LastRun]:
    """The newest run of each schedule by its task, also one that a user requested: one query for each kind."""
    found = {}
    for schedule in BUILT_IN:
        runs = filter(None, map(newest_run, schedule.kinds))
        newest = max(runs, key=lambda run: run.requested_at, default=None)
        if newest:
            found[schedule.task] = LastRun(newest)
    return found


def newest_run(kind: Run.Kind) -> Run | None:
    return Run.objects.filter(kind=kind).order_by("-requested_at").defer("log", "result", "arguments", "stages").first()


# --- What is wrong with the times ----------------------------------------------------------------------------------
def warnings_about(cards: Iterable[ScheduleCard], others: Iterable[OtherSchedule], max_age_hours: int) -> Iterator[str]:
    """Sentences on the times of backups; none where another schedule makes backups, too."""
    if any(other.row.enabled and other.row.task == BACK_UP for other in others):
        return
    timing = next(card.timing for card in cards if card.schedule.task == BACK_UP)
    if timing is None or not timing.enabled:
        yield "No backup will be made by schedule: Back up is off."
    elif timing.longest_gap() >= dt.timedelta(hours=max_age_hours):
        yield (
            f"Up to {hours(timing.longest_gap() // HOUR)} pass between two backups, and the limit for their age"
            f" ({setting_name(MAX_AGE)}) is {hours(max_age_hours)}: /health/ will report that the last one is too old,"
            " and an alert will be sent."
        )


def hours(number: int) -> str:
    return pluralize(number, "hour")
