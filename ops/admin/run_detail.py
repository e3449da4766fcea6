"""A run in words: what its page shows, and what the list says of it."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.utils import timezone

from ops.backups.engines.base import LeftOut, describe_left_out
from ops.backups.manifest import Level
from ops.backups.stages import Stage
from ops.models import Run
from ops.runs.event_format import read_result, read_stages
from ops.utils.formatting import format_duration, format_size, pluralize

BADGES = {
    Run.Status.QUEUED: "info",
    Run.Status.RUNNING: "primary",
    Run.Status.SUCCEEDED: "success",
    Run.Status.FAILED: "danger",
    Run.Status.INTERRUPTED: "warning",
    Run.Status.CANCELLED: "default",
}
NO_WAY_BACK = {Stage.HISTORY, Stage.CUT_OVER}
LONG_WAIT = dt.timedelta(seconds=15)
"""After that long in the queue the page asks whether a worker runs at all."""


@dataclass(frozen=True, kw_only=True)
class StageLine:
    """One stage: how long it took, or ``…`` while it lasts."""

    name: str
    took: str
    now: bool


class RunPresenter:
    """What templates show of a run."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.id = run.pk
        self.title = run.get_kind_display()
        self.status = Run.Status(run.status).label
        self.badge = BADGES[Run.Status(run.status)]
        self.is_over = run.is_over
        self.error, self.hint, self.log = run.error, run.hint, run.log
        self.result = read_result(run.kind, run.result)

    @property
    def took(self) -> str:
        return format_duration(seconds_of(self.run)) if self.run.started else ""

    @property
    def stages(self) -> list[StageLine]:
        lines = [
            StageLine(name=str(stage["stage"]), took=took_in_words(stage.get("seconds")), now=False)
            for stage in read_stages(self.run.stages)
        ]
        if lines and not self.is_over:
            lines[-1] = StageLine(name=lines[-1].name, took="…", now=True)
        return lines

    @property
    def percent(self) -> int | None:
        """Of the stage at hand; None where it is not known."""
        if self.is_over or not self.run.total:
            return None
        return min(100, max(0, 100 * self.run.done // self.run.total))

    @property
    def waits_long(self) -> bool:
        return self.run.status == Run.Status.QUEUED and timezone.now() - self.run.asked > LONG_WAIT

    @property
    def may_be_cancelled(self) -> bool:
        return not self.is_over and not self.run.cancel_requested and self.run.stage not in NO_WAY_BACK

    @property
    def may_be_undone(self) -> bool:
        """Whether it kept a database that was replaced; whether that is still there, its page says."""
        return self.replaced and bool(self.result.get("undo", True))

    @property
    def replaced(self) -> bool:
        """Whether it put another database in the place of the live one."""
        beside = "to" in self.run.arguments
        is_swap = self.run.kind in {Run.Kind.RESTORE, Run.Kind.UNDO} and not beside
        return is_swap and self.run.status == Run.Status.SUCCEEDED

    @property
    def results(self) -> list[str]:
        """Sentences on what came out of it; none for what does not know yet, or failed."""
        sentences = RESULTS.get(Run.Kind(self.run.kind))
        return sentences(self.result) if sentences and self.result else []


def seconds_of(run: Run) -> float:
    """How long it took, or has been at work."""
    return max(0.0, ((run.ended or timezone.now()) - (run.started or run.asked)).total_seconds())


def took_in_words(seconds: float | None) -> str:
    return "" if seconds is None else format_duration(seconds)


# --- What came out of it ------------------------------------------------------------------------------------------
Result = Mapping[str, Any]


def of_backup(result: Result) -> list[str]:
    percent = 100 * result["size"] / (result["plain_size"] or 1)
    rows = f"{pluralize(result['rows'], 'row')} in {pluralize(result['tables'], 'table')}"
    proven = "Proven complete: read back in full, every table's rows counted and equal to the snapshot's."
    sizes = f"{format_size(result['size'])}, {percent:.0f} % of {format_size(result['plain_size'])}"
    return [f"{rows}; {sizes}.", proven, *of_deleted(result.get("deleted") or {})]


def of_verification(result: Result) -> list[str]:
    return [proof_in_words(name, proof) for name, proof in result["proofs"]]


def proof_in_words(name: str, proof: Mapping[str, Any]) -> str:
    if proof.get("fault"):
        return f"{name} failed: {proof['fault']}."
    what = {
        Level.READ: "is complete: read back in full, every table's rows equal to the snapshot's",
        Level.RESTORED: "restores: loaded, migrated, and every table's content equal to the snapshot's",
    }[Level(proof["level"])]
    return f"{name} {what}; {format_duration(proof['seconds'])}."


def of_restore(result: Result) -> list[str]:
    compared = (
        ", compared with the manifest by content: equal."
        if result["compared"]
        else ". Nothing is known of the file to compare them with."
    )
    sentences = [f"{pluralize(result['rows'], 'row')} in {pluralize(result['tables'], 'table')}{compared}"]
    sentences += describe_left_out([LeftOut(**left) for left in result["left_out"]])
    if "database" in result:
        return [*sentences, f"They are in {result['database']}; the live database was not touched."]
    if result["pre_backup"]:
        sentences.append(f"What was there before is in the backup {result['pre_backup']}.")
    return sentences + of_swap(result)


def of_undo(result: Result) -> list[str]:
    return ["What had been live before the restore is live again.", *of_swap(result)]


def of_swap(result: Result) -> list[str]:
    sentences = []
    if result["migrations"]:
        sentences.append(f"{pluralize(len(result['migrations']), 'migration')} applied on top.")
    sentences.append(
        f"The site took no changes for {format_duration(result['writes_closed'])};"
        f" the database was away for {result['cut_over']:.2f} s."
    )
    if undo := result.get("undo"):
        sentences.append(f"The database that was replaced is kept: {undo['name']}, {format_size(undo['size'])}.")
    return sentences


def of_dropping(result: Result) -> list[str]:
    undo = result.get("undo")
    return (
        [f"{undo['name']} is gone; {format_size(undo['size'])} are free."]
        if undo
        else ["There was nothing to let go of."]
    )


def of_pruning(result: Result) -> list[str]:
    gone = of_deleted(result.get("deleted") or {})
    return [f"{pluralize(result['kept'], 'backup')} kept.", *gone] if gone else ["Nothing had to go."]


def of_deleted(deleted: Mapping[str, str]) -> list[str]:
    return [f"Deleted {name}: {reason}." for name, reason in deleted.items()]


def of_preflight(result: Result) -> list[str]:
    if result["acceptable"]:
        return [f"All of {pluralize(result['rows'], 'row')} can be moved as they are."]
    return [f"{pluralize(result['findings'], 'value')} would be refused or changed by PostgreSQL."]


def of_upload(result: Result) -> list[str]:
    rows = f"{pluralize(result['rows'], 'row')} in {pluralize(result['tables'], 'table')}"
    return [f"{rows}; {format_size(result['size'])}. Its origin is unknown, so it is not trusted."]


RESULTS = {
    Run.Kind.BACKUP: of_backup,
    Run.Kind.VERIFICATION: of_verification,
    Run.Kind.DRILL: of_verification,
    Run.Kind.RESTORE: of_restore,
    Run.Kind.UNDO: of_undo,
    Run.Kind.DROP_UNDO: of_dropping,
    Run.Kind.PRUNE: of_pruning,
    Run.Kind.UPLOAD: of_upload,
    Run.Kind.PREFLIGHT: of_preflight,
}
