"""The record of a run while it is running: progress, log, claims and result."""

import contextlib
import copy
import logging
import threading
from collections.abc import Callable, Collection, Iterator
from functools import partial
from typing import TypeVar

from django.db import DEFAULT_DB_ALIAS, ProgrammingError, connection, transaction
from django.db import Error as DatabaseError
from msgspec import Struct

from ops.backups.locations.catalog import BackupCatalog
from ops.backups.record import BackupRecord
from ops.databases.leftovers import Claims
from ops.databases.postgres.connection import RUN_AGAIN, server_message
from ops.databases.postgres.lock import NOT_DONE, OutcomeUnknown
from ops.databases.postgres.server_id import read_server_id
from ops.errors import Cancelled, OpsError, PreconditionFailed
from ops.health.replacement import Contradiction, Finding, find_contradiction
from ops.models import Run
from ops.runs import event_log, index
from ops.runs.row_writer import RunRowWriter
from ops.utils import clock
from ops.utils.progress import Progress, ProgressCallback, StageTimer
from ops.utils.redaction import redact
from ops.utils.schema import to_json
from ops.utils.single_flight import SingleFlight

logger = logging.getLogger(__name__)

DATABASE_TIMEOUT = 5.0
"""Seconds that a run waits for the database on behalf of its record."""
Answer = TypeVar("Answer")
LONGEST_LOG = 100_000
"""Characters. Longer logs lose their beginning."""


class RunRecorder(Claims):
    """What an operation reports to. It also records the databases that the run creates."""

    def __init__(
        self, run: Run, *, repository: BackupCatalog, on_progress: ProgressCallback, writes_row: bool = True
    ) -> None:
        self.id, self.requested_by = str(run.pk), run.requested_by
        self.kind, self.origin = Run.Kind(run.kind), Run.Origin(run.origin)
        self._run, self._repository, self._on_progress = run, repository, on_progress
        self._lock = threading.Lock()
        self._timer = StageTimer()
        self._may_be_cancelled, self._is_applied = True, False
        self._replacing: dict[str, str] | None = None
        """The id of the server and the name of the database that the run replaces."""
        self._is_recorded = False
        """Whether it is recorded that the run has replaced it."""
        self._failure: OpsError | None = None
        self._known_events: set[str] = set()
        self._indexed: list[BackupRecord] = []
        self.result: Struct | None = None
        self._writer = RunRowWriter(self._state, enabled=writes_row)

    # --- What the operation reports ------------------------------------------------------------------------------

    def report(self, progress: Progress) -> None:
        """Record the progress, and pass it on. Raises Cancelled within a second of a user's request."""
        self._check_cancelled()
        with self._lock:
            if progress.stage != self._timer.stage:
                self._end_stage()
                self._run.stages.append({"stage": progress.stage, "began": clock.now().isoformat(), "seconds": None})
            self._timer.report(progress)
            self._run.stage, self._run.total, self._run.done = progress.stage, self._timer.total, self._timer.done
        self._on_progress(progress)

    def log(self, text: str) -> None:
        """Add a line to the log of the run."""
        line = f"{clock.now():%H:%M:%S} {redact(text)}\n"
        with self._lock:
            self._run.log = (self._run.log + line)[-LONGEST_LOG:]

    def log_error(self, what: str, error: BaseException) -> str:
        """Add a line to the log: `what`, and the message of `error`, which it returns."""
        message, _ = explanation(error)
        self.log(f"{what}: {message}")
        return message

    def set_backup(self, name: str) -> None:
        """The run makes this backup, or uses it."""
        self._run.backup = name

    def fail(self, error: OpsError) -> None:
        """Mark the run as failed although its operation returns a result."""
        self._failure = error

    def index(self, record: BackupRecord) -> None:
        """Write the row of a backup that is new or has changed."""
        self._indexed.append(record)
        self._writer.enqueue(partial(index.write_backup, record))

    def refresh_rows(self) -> None:
        """Make the rows of backups match the storage; see `ops.runs.index.refresh_backups`."""
        self._writer.enqueue(partial(index.refresh_backups, self._repository))

    def remove_rows(self, names: Collection[str]) -> None:
        """Remove the rows of deleted backups."""
        self._writer.enqueue(partial(index.remove_backups, names))

    def reserve_file(self, name: str) -> None:
        """Claim a data file before it is written: if this run is killed, the next one deletes the file."""
        event_log.record(self._repository, event_log.CLAIMED, self._state(), file=name)

    def point_of_no_return(self) -> None:
        """Call it before a cut-over: afterwards the run cannot be cancelled, and its row is not written meanwhile.

        Raises Cancelled if a user has requested that.
        """
        self._writer.drain(within=DATABASE_TIMEOUT)
        self._check_cancelled()
        self._may_be_cancelled = False

    def prepare_history(self) -> None:
        """Write the rows of all backups and runs into what "default" is for this thread: the staging database.

        That takes seconds for thousands of files. `write_history` adds the rest while writes are blocked.
        """
        self._known_events = set(self._repository.event_names())
        index.rebuild_index(self._repository, restored=True)

    def write_history(self) -> None:
        """Write the rows that are new since `prepare_history`, and that of this run, into the staging database.

        A later run that finds this run's row in the live database knows that the swap succeeded, even if this process
        was killed right after it.
        """
        with transaction.atomic():
            index.write_new(self._repository, known_events=self._known_events, records=self._indexed)
            _write_applied(self._state())

    def mark_staging(self, database: str) -> None:
        run = self._state()
        # Only a successful swap makes the row live, where no run closes it: it is recorded for another database.
        run.status, run.finished_at = Run.Status.SUCCEEDED, clock.now()
        with transaction.atomic():
            _write_applied(run)
        with connection.cursor() as cursor:
            self.begin_replacing(server=read_server_id(cursor), database=database)

    def is_marked(self) -> bool:
        return is_applied(self._run)

    def begin_replacing(self, *, server: str | None, database: str) -> None:
        """Record before a cut-over that the run may replace `database`; `server` is `Engine.replaced_server`.

        If no server answers to it, a later run finds out what it has done.
        """
        if server is None:
            return
        self._replacing = {"server": server, "database": database}
        with self._logging_errors("that the database is about to be replaced"):
            event_log.begin_replacing(self._repository, self._state(), **self._replacing)

    def require_applied(self) -> None:
        """Raises OpsError unless the swap has made the row of this run live in what "default" is: it was not done."""
        try:
            applied = self.is_marked()
        except DatabaseError as error:
            raise OutcomeUnknown.because(server_message(error)) from error
        if not applied:
            raise OpsError(NOT_DONE, RUN_AGAIN)

    def mark_applied(self) -> None:
        """Call it after a cut-over: an interruption does not make the run fail from then on."""
        self._is_applied = True
        self._writer.resume()

    def record_replaced(self) -> None:
        """Record after a cut-over that the run has replaced the database of `begin_replacing`.

        A later run compares this with the live database.
        """
        if self._replacing:
            self._is_recorded = True
            with self._logging_errors("which database was replaced"):
                event_log.record_replaced(self._repository, self._state(), **self._replacing)

    def require_not_lost(self) -> None:
        """Raises OpsError if the server that answers now does not have what the run did: it took over meanwhile."""
        if not self._is_recorded:
            return
        found = query_with_timeout(partial(find_contradiction, DEFAULT_DB_ALIAS, self._repository))
        if not isinstance(found, Contradiction) or found.finding is not Finding.LOST:
            return
        if str(found.replacement.run) == self.id:
            where = {"server": found.server, "database": found.database}
            lost = event_log.record_lost(self._repository, self._state(), **where)
            raise OpsError(lost.error, lost.hint)

    @contextlib.contextmanager
    def _logging_errors(self, what: str) -> Iterator[None]:
        """A storage that takes no record any more does not make a cut-over fail."""
        try:
            yield
        except (OSError, OpsError):
            logger.exception("It could not be recorded next to the backups %s.", what)

    @property
    def is_applied(self) -> bool:
        """Whether the cut-over is done."""
        return self._is_applied

    # --- Databases that the run creates -----------------------------------------------------------------------------

    def claim_database(self, name: str, *, target: str = "") -> None:
        """Raises PreconditionFailed if the storage does not take the record."""
        try:
            event_log.record(self._repository, event_log.CLAIMED, self._state(), database=name, target=target)
        except OSError as error:
            raise unrecorded(error) from error

    def leave_database(self, name: str, *, target: str = "") -> None:
        # Another error is being handled.
        try:
            event_log.record(self._repository, event_log.LEFT, self._state(), database=name, target=target)
        except (OSError, OpsError):
            logger.exception("The database %s could not be dropped, and no later run will drop it.", name)

    def left_databases(self, names: Collection[str]) -> Collection[str]:
        return event_log.claimed_before(self._repository, names)

    def clear_left_databases(self, target: str) -> None:
        event_log.record_swept(self._repository, self._earlier_events(), target=target)

    def _earlier_events(self) -> list[event_log.Event]:
        return [event for event in self._repository.unended_events() if event.get("run") != self.id]

    # --- Start and end ------------------------------------------------------------------------------------------

    def begin(self) -> None:
        event_log.record(self._repository, event_log.STARTED, self._state())
        self._writer.start()

    def end(self, error: BaseException | None) -> Run:
        """Record how the run ended, and return it. Never raises: the outcome of the operation counts.

        Of a cut-over whose outcome is unknown, the next run records the end.
        """
        error = error or self._failure
        with self._lock:
            self._end_stage()
            is_uncertain = isinstance(error, OutcomeUnknown) and self.kind in {Run.Kind.RESTORE, Run.Kind.UNDO}
            if not is_uncertain:
                self._run.status, self._run.finished_at = self._final_status(error), clock.now()
            self._run.error, self._run.hint = explanation(error)
            self._run.result = to_json(self.result) if self.result else {}
        has_failed = isinstance(error, Exception) and not isinstance(error, OutcomeUnknown)
        with self._logging_errors(f"how the run {self.id} ended"):
            if self._replacing and not self._is_recorded and has_failed:
                event_log.record_not_replaced(self._repository, self._run.pk, **self._replacing)
            word = event_log.UNCERTAIN if is_uncertain else event_log.ENDED
            event_log.record(self._repository, word, self._state())
        if not self._writer.close(within=DATABASE_TIMEOUT):
            logger.warning("The row of the run %s could not be updated. Run: manage.py rebuild_backup_index", self.id)
        return self._state()

    def _final_status(self, error: BaseException | None) -> Run.Status:
        if error is None:
            return Run.Status.SUCCEEDED
        if isinstance(error, Cancelled):
            return Run.Status.CANCELLED
        if isinstance(error, Exception):
            return Run.Status.FAILED
        return Run.Status.SUCCEEDED if self._is_applied else Run.Status.INTERRUPTED

    def _check_cancelled(self) -> None:
        if self._may_be_cancelled and self._writer.cancel_requested.is_set():
            raise Cancelled(
                f"The {self._run.get_kind_display()} was cancelled on request. The database was not changed."
            )

    def _end_stage(self) -> None:
        if self._timer.stage:
            self._run.stages[-1]["seconds"] = round(self._timer.end_stage(), 3)

    def _state(self) -> Run:
        """A copy, for other threads."""
        with self._lock:
            run = copy.copy(self._run)
            run.stages = [dict(stage) for stage in run.stages]
            run.result, run.log = event_log.sanitize(run.result), event_log.sanitize(run.log)
            return run


def query_with_timeout(query: Callable[[], Answer]) -> Answer | BaseException:
    """The result of a query to the live database, or its error. No run waits longer for the sake of its record."""
    return SingleFlight().run("query", query).result(within=DATABASE_TIMEOUT)


def is_applied(run: Run) -> bool:
    """Whether a swap has made the row of `run` live in what "default" is. Raises Django's database errors."""
    try:
        return Run.objects.filter(pk=run.pk, applied=True).exists()
    except ProgrammingError:
        # An empty database has no tables.
        return False


def _write_applied(run: Run) -> None:
    index.write_run(run)
    Run.objects.filter(pk=run.pk).update(applied=True)


def unrecorded(error: OSError) -> PreconditionFailed:
    return PreconditionFailed(
        f"The backup storage does not take the record of this run: {redact(str(error))}.",
        "Nothing was changed. Make it writable, with space for files, and try again.",
    )


def explanation(error: BaseException | None) -> tuple[str, str]:
    """The message and the hint of `error` for the record."""
    if error is None:
        return "", ""
    if isinstance(error, OpsError):
        return redact(error.message), redact(error.hint)
    if isinstance(error, Exception):
        return f"{type(error).__name__}: {redact(str(error).strip())}", ""
    return "The run was interrupted.", ""
