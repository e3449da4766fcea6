"""An import of spreadsheets, step by step: keep the files, plan, show the plan, carry it out.

Small imports are planned and carried out by the request; large ones by a worker, which holds the lock of the folder
meanwhile. Each step begins with a compare-and-swap in the row, because the queue may deliver a message twice, and ends
with another one, so that a step that was given up cannot end later.
"""

import contextlib
import datetime as dt
import logging
from collections.abc import Iterable, Iterator
from typing import IO, Any

from django.conf import settings
from django.db import DatabaseError, transaction
from django.utils import timezone

from homerack.accounts.models import User
from homerack.inventory.imports.plan import ImportRefused, Plan, PlanChanged
from homerack.inventory.spreadsheets.files import SpreadsheetFile
from homerack.inventory.spreadsheets.importing import import_inventory, plan_import
from homerack.spreadsheets.files import PROBLEMS, ImportFolder, Reporter, folders
from homerack.spreadsheets.models import BEGUN, UNFINISHED, SpreadsheetImport, State
from homerack.spreadsheets.preview import preview_of, write_report
from homerack.spreadsheets.rights import importable
from ops.maintenance import mode_from_settings

logger = logging.getLogger(__name__)

LARGE = 2_000
"""Rows from which a worker does it."""
LARGEST_WITHOUT_WORKER = 10_000
"""Rows that a request reads and imports where there is no worker."""
KEPT = dt.timedelta(days=1)
"""How long an import is kept, with its files."""
WAITS_LONG = dt.timedelta(seconds=20)
"""After this time, the page says that no worker has begun."""
INTERRUPTED = (
    "Its process has ended before it was done: it was killed, or the machine was restarted. Nothing was imported."
)
CHANGED = "The inventory has changed since the preview. Nothing was imported. This is the new preview."
FAULT = "HomeRack has a fault, which is in its log. Nothing was imported."


class CannotStart(Exception):
    """Nothing was kept."""


class GivenUp(Exception):
    """The row says that another process has ended this step. Nothing was imported."""


# --- The upload -------------------------------------------------------------------------------------------------------
def create(user: User, uploads: Iterable[tuple[str, IO[bytes]]]) -> SpreadsheetImport:
    """Keep the files. An import of the same user that was not confirmed is deleted. Raises CannotStore, CannotStart."""
    prune(user)
    job = SpreadsheetImport(user=user)
    folder = ImportFolder(job.pk)
    job.names = folder.store(uploads)
    rows = folder.rows(job.names, at_most=max(LARGE, LARGEST_WITHOUT_WORKER) + 1)
    job.is_large = rows > LARGE and has_worker()
    if rows > LARGEST_WITHOUT_WORKER and not has_worker():
        folder.delete()
        raise CannotStart(
            f"The files have more than {LARGEST_WITHOUT_WORKER:,} rows, and there is no worker to import them: "
            "REDIS_URL is not set. Nothing was kept."
        )
    job.save()
    return job


def has_worker() -> bool:
    return bool(settings.REDIS_URL)


def prune(user: User | None = None) -> None:
    """Delete imports of yesterday and their files, and those that `user` has not confirmed. Not one that is running."""
    old = SpreadsheetImport.objects.filter(created_at__lt=timezone.now() - KEPT)
    if user:
        old |= SpreadsheetImport.objects.filter(user=user, state__in=(State.PLANNED, State.PLANNING, State.FAILED))
    for job in old:
        delete(job)
    for folder in folders():
        # A restore has replaced the rows, or the site was killed during an upload.
        if folder.is_older_than(KEPT) and not SpreadsheetImport.objects.filter(pk=folder.path.name).exists():
            folder.delete()


def delete(job: SpreadsheetImport) -> None:
    """Not while a process works on it: it would still import the rows."""
    folder = ImportFolder(job.pk)
    with folder.locked() as is_free:
        if is_free or not folder.path.exists():
            job.delete()
            folder.delete()


# --- The steps --------------------------------------------------------------------------------------------------------
def confirm(job: SpreadsheetImport) -> bool:
    """Let the plan be carried out. False if it is not to be confirmed, or no longer: a second click does nothing."""
    if not job.preview or job.preview["refused"]:
        return False
    now = timezone.now()
    planned = SpreadsheetImport.objects.filter(pk=job.pk, state=State.PLANNED)
    return bool(planned.update(state=State.IMPORTING, queued_at=now, begun_at=None, note=""))


def run(key: str) -> None:
    """Do the step that the import waits for. Does nothing if another process does it, or it is gone."""
    job = SpreadsheetImport.objects.select_related("user").filter(pk=key).first()
    if job is None:
        return
    folder = ImportFolder(job.pk)
    with folder.locked() as is_mine:
        if not is_mine or not begin(job):
            return
        step = plan if job.state == State.PLANNING else carry_out
        needs_files = False
        try:
            needs_files = step(job, folder)
        except GivenUp:
            logger.warning("The import %s was given up meanwhile. Nothing was imported.", job.pk)
        except BaseException:
            # Without the database, the page finds that nothing works on it any more.
            with contextlib.suppress(DatabaseError):
                end(job, State.FAILED, note=FAULT)
            raise
        finally:
            if not needs_files:
                folder.delete_uploads()


def begin(job: SpreadsheetImport) -> bool:
    waiting = SpreadsheetImport.objects.filter(pk=job.pk, state=job.state, begun_at=None)
    return job.state in UNFINISHED and bool(waiting.update(begun_at=timezone.now()))


def end(job: SpreadsheetImport, state: State, **values: Any) -> bool:
    """The end of the step that this process has begun. False if the row says that it was given up."""
    begun = SpreadsheetImport.objects.filter(BEGUN, pk=job.pk, state=job.state)
    return bool(begun.update(state=state, finished_at=timezone.now(), **values))


def plan(job: SpreadsheetImport, folder: ImportFolder) -> bool:
    """Returns whether the files are needed any longer, as all steps do."""
    if refusal := refusal_of(job):
        return fail(job, refusal)
    with opened(job, folder) as files:
        return show(job, folder, plan_import(files, user=job.user, progress=Reporter(folder)))


def show(job: SpreadsheetImport, folder: ImportFolder, made: Plan[Any], *, note: str = "") -> bool:
    """Keep what the page shows of the plan. A plan with problems is not carried out."""
    write_report(folder.path / PROBLEMS, made.refused)
    is_shown = end(job, State.PLANNED, preview=preview_of(made), digest=made.digest, note=note)
    return is_shown and not made.refused


def carry_out(job: SpreadsheetImport, folder: ImportFolder) -> bool:
    """All rows and the state of the import are written in one transaction."""
    if refusal := refusal_of(job):
        return fail(job, refusal)
    try:
        with opened(job, folder) as files, transaction.atomic():
            made = import_inventory(files, user=job.user, seen=job.digest, progress=Reporter(folder))
            if not end(job, State.IMPORTED, preview=preview_of(made), change_set=str(made.change_set or "")):
                raise GivenUp
    except PlanChanged as error:
        return show(job, folder, error.plan, note=CHANGED)
    except ImportRefused as error:
        return fail(job, f"Nothing was imported. {error}")
    return False


def fail(job: SpreadsheetImport, note: str) -> bool:
    end(job, State.FAILED, note=note)
    return False


def refusal_of(job: SpreadsheetImport) -> str:
    """Why nothing may be imported now, or ''."""
    if state := mode_from_settings().read():
        return f"Changes are blocked at the moment: {state.reason} Nothing was imported. Import again afterwards."
    if not job.user.is_active or not importable(job.user):
        return f"{job.user} may no longer add and change rows. Nothing was imported."
    return ""


@contextlib.contextmanager
def opened(job: SpreadsheetImport, folder: ImportFolder) -> Iterator[list[SpreadsheetFile]]:
    with contextlib.ExitStack() as stack:
        yield [
            SpreadsheetFile(name=name, content=stack.enter_context(folder.file(number).open("rb")))
            for number, name in enumerate(job.names)
        ]


# --- What became of it ------------------------------------------------------------------------------------------------
def give_up_if_killed(job: SpreadsheetImport) -> bool:
    """Close an import whose process has ended without a word. Returns whether it was one.

    A process that is only frozen holds its lock. Should it lose that, it finds the row closed before it commits.
    """
    if not job.is_unfinished or job.is_waiting or ImportFolder(job.pk).is_locked():
        return False
    ImportFolder(job.pk).delete_uploads()
    return end(job, State.FAILED, note=INTERRUPTED)


def waits_long(job: SpreadsheetImport) -> bool:
    return job.is_waiting and timezone.now() - job.queued_at > WAITS_LONG
