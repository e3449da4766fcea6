"""The schedules of ops: what each is for, when it starts unless an administrator has chosen another time, and how a
time is written in words and as a crontab.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal

from msgspec import Meta, Struct

from ops.models import Run

Hour = Annotated[int, Meta(ge=0, le=23)]
Minute = Annotated[int, Meta(ge=0, le=59)]
Weekday = Annotated[int, Meta(ge=1, le=7)]
Repeat = Literal[1, 2, 3, 4, 6, 8, 12, 24]
WEEKDAYS: Mapping[int, str] = {
    1: "Monday",
    2: "Tuesday",
    3: "Wednesday",
    4: "Thursday",
    5: "Friday",
    6: "Saturday",
    7: "Sunday",
}
"""As ISO 8601 numbers them."""
EVERY_DAY = tuple(WEEKDAYS)
HOUR = 3600


class Timing(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """On each of `days` at `hour`:`minute` in TIME_ZONE, and every `every_hours` from then on.

    The hours are those of a whole day: every 12 hours from 14:00 is at 02:00 and 14:00.
    """

    enabled: bool = True
    hour: Hour
    minute: Minute = 0
    every_hours: Repeat = 24
    days: Annotated[tuple[Weekday, ...], Meta(min_length=1, max_length=7)] = EVERY_DAY

    @property
    def hours(self) -> list[int]:
        return sorted((self.hour + step) % 24 for step in range(0, 24, self.every_hours))

    @property
    def time(self) -> str:
        return f"{self.hour:02}:{self.minute:02}"

    def crontab(self) -> dict[str, str]:
        """The fields of a crontab; Sunday is 0 there."""
        days = sorted(day % 7 for day in set(self.days))
        return {
            "minute": str(self.minute),
            "hour": "*" if self.every_hours == 1 else ",".join(map(str, self.hours)),
            "day_of_week": "*" if len(days) == len(WEEKDAYS) else ",".join(map(str, days)),
            "day_of_month": "*",
            "month_of_year": "*",
        }

    def longest_gap(self) -> dt.timedelta:
        """The longest time between two starts that follow each other, week after week."""
        starts = sorted(24 * day + hour for day in set(self.days) for hour in self.hours)
        gaps = [later - earlier for earlier, later in pairwise([*starts, starts[0] + 24 * len(WEEKDAYS)])]
        return dt.timedelta(hours=max(gaps))


@dataclass(frozen=True, kw_only=True)
class BuiltIn:
    """A schedule of ops. Its start expires after `expire_seconds` in the queue.

    `default` is None for one that administrators cannot change: it starts every `every_minutes`.
    """

    name: str
    task: str
    description: str
    expire_seconds: int
    kinds: tuple[Run.Kind, ...] = ()
    """Of the runs that it starts."""
    unrecorded: str = ""
    """Which of its starts leave no run, in a sentence."""
    default: Timing | None = None
    every_minutes: int = 0

    @property
    def short_name(self) -> str:
        """``back_up``: that of the task without its module."""
        return self.task.rpartition(".")[2]

    @property
    def times(self) -> str:
        """Those of the default, in words."""
        return describe(self.default) if self.default else f"every {self.every_minutes} minutes"


BUILT_IN = (
    BuiltIn(
        name="Back up",
        task="ops.tasks.back_up",
        description="Makes a backup and verifies it by reading it back.",
        kinds=(Run.Kind.BACKUP,),
        default=Timing(hour=2),
        expire_seconds=12 * HOUR,
    ),
    BuiltIn(
        name="Restore test",
        task="ops.tasks.restore_test",
        description="Restores the newest verified backup into a scratch database, and compares.",
        kinds=(Run.Kind.RESTORE_TEST,),
        unrecorded="There is no verified backup yet, and without one nothing starts.",
        default=Timing(hour=3, minute=30, days=(7,)),
        expire_seconds=48 * HOUR,
    ),
    BuiltIn(
        name="Copy backups",
        task="ops.tasks.copy_backups",
        description="Copies to the other storage locations what they lack. Each new backup is copied at once.",
        kinds=(Run.Kind.COPY,),
        unrecorded="It is recorded only when there is something to copy.",
        default=Timing(hour=0, minute=45, every_hours=1),
        expire_seconds=HOUR,
    ),
    BuiltIn(
        name="Prune backups",
        task="ops.tasks.prune",
        description="Deletes the backups that the retention policy does not keep.",
        kinds=(Run.Kind.PRUNE,),
        default=Timing(hour=3),
        expire_seconds=12 * HOUR,
    ),
    BuiltIn(
        name="Drop expired previous databases",
        task="ops.tasks.drop_expired_previous",
        description="Drops the database that a restore replaced, and deletes SQLite files of migrations.",
        kinds=(Run.Kind.DROP_PREVIOUS, Run.Kind.SQLITE_DELETION),
        unrecorded="It is recorded only when something has expired.",
        default=Timing(hour=4),
        expire_seconds=12 * HOUR,
    ),
    BuiltIn(
        name="Reconcile",
        task="ops.tasks.reconcile",
        description="Marks interrupted operations, cleans up after them, and sends alerts.",
        every_minutes=5,
        expire_seconds=300,
    ),
)
BY_TASK: Mapping[str, BuiltIn] = {schedule.task: schedule for schedule in BUILT_IN}


def describe(timing: Timing) -> str:
    """``every day at 02:00``, ``on Sunday at 03:30``, ``every 6 hours (02:15, 08:15, …), on Monday and Friday``."""
    if not timing.enabled:
        return "off"
    days = describe_days(timing.days)
    if timing.every_hours == 24:
        return f"{days} at {timing.time}"
    where = "" if days == "every day" else f", {days}"
    if timing.every_hours == 1:
        return f"every hour at minute {timing.minute}{where}"
    times = ", ".join(f"{hour:02}:{timing.minute:02}" for hour in timing.hours)
    return f"every {timing.every_hours} hours ({times}){where}"


def describe_days(days: tuple[int, ...]) -> str:
    chosen = sorted(set(days))
    if chosen == list(EVERY_DAY):
        return "every day"
    if chosen == [1, 2, 3, 4, 5]:
        return "from Monday to Friday"
    names = [WEEKDAYS[day] for day in chosen]
    return "on " + (names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}")
