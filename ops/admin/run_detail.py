"""What pages and lists show of a run."""

import datetime as dt
from dataclasses import dataclass
from functools import cached_property

from django.db import Error as DatabaseError
from django.db import connection

from ops.admin.waiting import Waiting, explain_wait, format_moment, silent_since
from ops.health.database import with_health_deadline
from ops.models import Run
from ops.runs.descriptions import describe
from ops.runs.results import (
    PreflightResult,
    SqliteMigrationResult,
    VerificationResult,
    read_result,
)
from ops.utils import clock
from ops.utils.formatting import format_duration
from ops.utils.progress import Stage

BADGES = {
    Run.Status.QUEUED: "info",
    Run.Status.RUNNING: "primary",
    Run.Status.SUCCEEDED: "success",
    Run.Status.FAILED: "danger",
    Run.Status.INTERRUPTED: "warning",
    Run.Status.CANCELLED: "default",
}
TONES = {Run.Status.FAILED: "ops-danger", Run.Status.CANCELLED: "ops-neutral"}
NOT_CANCELLABLE = {Stage.HISTORY, Stage.CUT_OVER}
"""From these stages on; the backup of the previous database comes after them."""


@dataclass(frozen=True, kw_only=True)
class StageLine:
    """One stage and its duration, which is ``…`` while it lasts."""

    name: str
    duration: str
    is_current: bool


class RunPresenter:
    """What templates show of a run."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.id = run.pk
        self.title = run.get_kind_display()
        self.status = Run.Status(run.status).label
        self.badge = BADGES[Run.Status(run.status)]
        self.is_finished = run.is_finished
        self.error, self.hint, self.log = run.error, run.hint, run.log
        self.result = read_result(run.kind, run.result)

    @property
    def duration(self) -> str:
        return format_duration(duration_of(self.run)) if self.run.started_at else ""

    @property
    def stages(self) -> list[StageLine]:
        lines = []
        for stage in self.run.stages:
            duration = "" if stage["seconds"] is None else format_duration(stage["seconds"])
            lines.append(StageLine(name=stage["stage"], duration=duration, is_current=False))
        if lines and not self.is_finished:
            lines[-1] = StageLine(name=lines[-1].name, duration="…", is_current=True)
        return lines

    @property
    def percent(self) -> int | None:
        """Progress of the current stage; None if it is unknown."""
        if self.is_finished or not self.run.total:
            return None
        return min(100, max(0, 100 * self.run.done // self.run.total))

    @cached_property
    def waiting(self) -> Waiting | None:
        """Why it is still queued. Asks Redis and the worker. None if the database does not answer."""
        if self.run.status != Run.Status.QUEUED:
            return None
        try:
            with with_health_deadline(connection):
                return explain_wait(self.run)
        except DatabaseError:
            connection.close()
            return None

    @property
    def silent_since(self) -> str:
        """When its process has last reported, if that is too long ago."""
        since = silent_since(self.run)
        return format_moment(since) if since else ""

    @property
    def may_be_cancelled(self) -> bool:
        passed = {stage["stage"] for stage in self.run.stages} | {self.run.stage}
        return not (self.is_finished or self.run.cancel_requested or passed & NOT_CANCELLABLE)

    @property
    def findings(self) -> PreflightResult | None:
        """What a preflight, or a migration to SQLite, found before anything was written."""
        result = self.result
        if isinstance(result, SqliteMigrationResult):
            return result.blocked_by
        return result if isinstance(result, PreflightResult) else None

    @property
    def has_report(self) -> bool:
        """Whether a restore test has left a document; the page of the report shows it."""
        return isinstance(self.result, VerificationResult) and any(test.report for test in self.result.tests)

    @property
    def tone(self) -> str:
        """The class of the card with the error: a cancellation is none, and an interruption may be harmless."""
        return TONES.get(Run.Status(self.run.status), "ops-warning")

    @property
    def replaced(self) -> bool:
        """Whether it replaced the live database."""
        swaps = self.run.kind in {Run.Kind.RESTORE, Run.Kind.UNDO} and not self.run.arguments.get("to")
        return swaps and self.run.status == Run.Status.SUCCEEDED

    @property
    def results(self) -> list[str]:
        """The result in sentences; empty while it runs, and when it failed."""
        return describe(self.result) if self.result else []


def duration_of(run: Run) -> float:
    """Seconds from its start to its end, or to now."""
    passed: dt.timedelta = (run.finished_at or clock.now()) - (run.started_at or run.requested_at)
    return max(0.0, passed.total_seconds())
