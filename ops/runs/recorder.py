"""A run while it lasts: what the operation tells of itself, and what becomes of that."""

import copy
import datetime as dt
import logging
import threading
import time
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from django.db import transaction
from django.utils import timezone

from ops.errors import Cancelled, OpsError, PreconditionFailed
from ops.models import Run
from ops.runs import event_log
from ops.runs.event_format import sanitize
from ops.runs.event_log import Catalogue, Entry
from ops.runs.row_writer import RunRowWriter
from ops.utils.progress import Progress, ProgressCallback
from ops.utils.redaction import redact

logger = logging.getLogger(__name__)

DATABASE_TIMEOUT = 5.0
"""Seconds that a run waits for the database on behalf of its record."""
LONGEST_LOG = 100_000
"""Characters. The end of a log is what matters."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What somebody wants done. `who` is an e-mail address, or a name and a machine; `id` that of a queued row."""

    kind: Run.Kind
    who: str
    origin: Run.Origin
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """JSON values."""
    id: uuid.UUID = field(default_factory=uuid.uuid4)
    asked: dt.datetime = field(default_factory=timezone.now)
    waited: bool = False
    """It is that of a row in the queue, and void when the row is not queued any more."""


class RunRecorder:
    """The run as the operation sees it.

    `found` are sentences on what killed runs had left. `result` is for the operation to fill with JSON values.
    """

    def __init__(self, run: Run, *, catalogue: Catalogue, report: ProgressCallback, found: tuple[str, ...]) -> None:
        self.recovered = found
        self.result: dict[str, Any] = run.result
        self._run, self._catalogue, self._listener = run, catalogue, report
        self._lock = threading.Lock()
        self._done: dict[str, int] = {}
        self._stage_began = 0.0
        self._may_be_cancelled, self._is_in_place = True, False
        self._failure: OpsError | None = None
        self._writer = RunRowWriter(self._state)

    @property
    def id(self) -> str:
        return str(self._run.pk)

    # --- What the operation tells ------------------------------------------------------------------------------

    def report(self, progress: Progress) -> None:
        """Keep it, and pass it on to the listener. Raises Cancelled within a second of a person's request."""
        self._check_cancelled()
        with self._lock:
            if progress.stage != self._run.stage:
                self._begin_stage(progress.stage)
            if progress.item:
                self._done[progress.item] = progress.done
            elif progress.total:
                self._run.total, self._done[""] = progress.total, progress.done
            self._run.done = sum(self._done.values())
        self._listener(progress)

    def log(self, text: str) -> None:
        """Add a line to the log that is kept with the run."""
        line = f"{timezone.now():%H:%M:%S} {redact(text)}\n"
        with self._lock:
            self._run.log = (self._run.log + line)[-LONGEST_LOG:]

    def set_backup(self, name: str) -> None:
        """The run makes or works on this backup."""
        self._run.backup = name

    def reserve_file(self, name: str) -> None:
        """Before a data file is written: should this run be killed, the next one sweeps away what there is of it."""
        event_log.record_claim(self._catalogue, self._state(), name)

    def fail(self, error: OpsError) -> None:
        """The operation has ended and gives a result, but the run did not succeed."""
        self._failure = error

    def index(self, entry: Entry) -> None:
        """Have the row of a backup written that is new or has changed."""
        self._writer.enqueue(partial(event_log.write_backup, entry))

    def index_all(self, entries: Sequence[Entry], kept: Mapping[str, tuple[dt.datetime | None, str]]) -> None:
        """Have the rows of all backups written; see `ops.runs.event_log.write_catalogue`."""
        self._writer.enqueue(partial(event_log.write_catalogue, entries, kept))

    def remove_rows(self, names: Collection[str]) -> None:
        """Have the rows of backups removed that are gone."""
        self._writer.enqueue(partial(event_log.remove_backups, names))

    def point_of_no_return(self) -> None:
        """Before a cut-over: from now on nobody can cancel, and the live database is left alone until the run ends.

        Raises Cancelled if somebody asked for that in time.
        """
        self._writer.drain(within=DATABASE_TIMEOUT)
        self._check_cancelled()
        self._may_be_cancelled = False

    def write_history(self) -> None:
        """Write backups and runs, with this one among them, into what "default" is for this thread.

        That is the database which is about to take the place of the live one. Whoever finds the row there knows that it
        did, even if this process is killed a moment later.
        """
        with transaction.atomic():
            event_log.rebuild_index(self._catalogue, restored=True)
            run = self._state()
            event_log.write_run(run)
            Run.objects.filter(pk=run.pk).update(in_place=True)

    def mark_applied(self) -> None:
        """After a cut-over: an interruption does not make the run less of a success any more."""
        self._is_in_place = True

    # --- Databases that it makes (see `ops.backups.engines.base.Claims`) ---------------------------------------------

    def claim_database(self, name: str) -> None:
        """Raises PreconditionFailed where the storage does not keep it: nothing was made then."""
        claim_database(self._catalogue, self._state(), name)

    def leave_database(self, name: str) -> None:
        """Never raises: something else has failed before."""
        leave_database(self._catalogue, self._state(), name)

    # --- How it is kept ----------------------------------------------------------------------------------------

    def begin(self) -> None:
        event_log.record_start(self._catalogue, self._state())
        self._writer.start()

    def end(self, error: BaseException | None) -> Run:
        """Record how it ended, and return it. Never raises: what the operation did or raised is what counts."""
        error = error or self._failure
        with self._lock:
            self._end_stage()
            self._run.status, self._run.ended = self._verdict(error), timezone.now()
            self._run.error, self._run.hint = explanation(error)
        try:
            event_log.record_end(self._catalogue, self._state())
        except (OSError, OpsError):
            logger.exception("The end of the run %s could not be recorded beside the backups.", self.id)
        if not self._writer.close(within=DATABASE_TIMEOUT):
            logger.warning("The row of the run %s is behind. Run: manage.py sync_backups", self.id)
        return self._state()

    def _verdict(self, error: BaseException | None) -> Run.Status:
        if error is None:
            return Run.Status.SUCCEEDED
        if isinstance(error, Cancelled):
            return Run.Status.CANCELLED
        if isinstance(error, Exception):
            return Run.Status.FAILED
        return Run.Status.SUCCEEDED if self._is_in_place else Run.Status.INTERRUPTED

    def _check_cancelled(self) -> None:
        if self._may_be_cancelled and self._writer.cancel_requested.is_set():
            raise Cancelled(f"The {self._run.get_kind_display()} was cancelled on request. Nothing was changed.")

    def _begin_stage(self, stage: str) -> None:
        self._end_stage()
        self._run.stage, self._run.total, self._done = stage, 0, {}
        self._stage_began = time.monotonic()
        self._run.stages.append({"stage": stage, "began": timezone.now().isoformat(), "seconds": None})

    def _end_stage(self) -> None:
        if self._run.stages:
            self._run.stages[-1]["seconds"] = round(time.monotonic() - self._stage_began, 3)

    def _state(self) -> Run:
        """A copy that does not change any more."""
        with self._lock:
            run = copy.copy(self._run)
            run.stages = [dict(stage) for stage in run.stages]
            run.result, run.log = sanitize(run.result), sanitize(run.log)
            return run


def claim_database(catalogue: Catalogue, run: Run, name: str) -> None:
    """Record that the run is about to make the database. Raises PreconditionFailed where that can not be recorded."""
    try:
        event_log.record_database(catalogue, run, name)
    except OSError as error:
        raise unrecorded(error) from error


def leave_database(catalogue: Catalogue, run: Run, name: str) -> None:
    """Record that the run could not drop the database. Never raises: something else has failed before."""
    try:
        event_log.record_leftover(catalogue, run, name)
    except (OSError, OpsError):
        logger.exception("The database %s is left over, and no later run will drop it.", name)


def unrecorded(error: OSError) -> PreconditionFailed:
    return PreconditionFailed(
        f"The storage of the backups does not take the record of this run: {redact(str(error))}.",
        "Nothing was changed. Make it writable, with room for files, and try again.",
    )


def explanation(error: BaseException | None) -> tuple[str, str]:
    """The message and the hint of `error` for the record."""
    if error is None:
        return "", ""
    if isinstance(error, OpsError):
        return redact(error.message), redact(error.hint)
    if isinstance(error, Exception):
        return f"{type(error).__name__}: {redact(str(error).strip())}", ""
    return "It was interrupted.", ""
