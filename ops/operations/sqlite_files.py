"""The SQLite files that runs of the admin have made in BACKUP_DIR: find, download and delete them.

A file holds the values of all tables, so it is only for its owner to read. It is found by the name in the result of its
run, in the directory for such files: no path comes from a request, or from a record that is not signed.
"""

import datetime as dt
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path, PurePath

from django.conf import settings
from django.core.files.base import File

from ops import stored_settings
from ops.backups.storage.local import PrivateFileSystemStorage
from ops.conf import conf
from ops.databases.sqlite.files import JOURNALS, parse_name, sibling
from ops.engine_migration.to_sqlite import directory
from ops.errors import ArtifactInvalid, PreconditionFailed
from ops.models import Run
from ops.runs import executor
from ops.runs.context import OpsContext
from ops.runs.executor import operation
from ops.runs.recorder import RunRecorder
from ops.runs.results import FileDeletionResult, SqliteMigrationResult, read_result
from ops.utils import clock
from ops.utils.formatting import join_names

NAME = re.compile(r"[A-Za-z0-9_-]{1,100}_\d{8}_\d{6}_[0-9a-f]{4}\.sqlite3", re.ASCII)
MAKE_ANOTHER = "Make another file: Migrate to SQLite, above the list of backups."


@dataclass(frozen=True, kw_only=True)
class SqliteFile:
    """A file that is there; `size` is bytes."""

    path: Path
    size: int
    made_at: dt.datetime

    @property
    def name(self) -> str:
        return self.path.name


def new_path(database: str) -> Path:
    """The path of the file that is made now from `database`. Raises PreconditionFailed."""
    stem = re.sub(r"[^A-Za-z0-9_-]", "_", database)[:100] or "database"
    stamp = f"{dt.datetime.now(dt.UTC):%Y%m%d_%H%M%S}_{secrets.token_hex(2)}"
    return directory.make_directory(conf.BACKUP_DIR.absolute()) / f"{stem}_{stamp}.sqlite3"


# --- Find -----------------------------------------------------------------------------------------------------------
def name_of_file(run: Run) -> str:
    """The name of the file that this run of the admin has made; '' if it made none."""
    if (run.kind, run.status, run.origin) != (Run.Kind.MIGRATION_TO_SQLITE, Run.Status.SUCCEEDED, Run.Origin.ADMIN):
        return ""
    result = read_result(run.kind, run.result)
    name = PurePath(result.target).name if isinstance(result, SqliteMigrationResult) else ""
    return name if NAME.fullmatch(name) else ""


def find_file(name: str) -> SqliteFile | None:
    """None if this process does not see it: it was deleted, or BACKUP_DIR is another directory here."""
    return next((file for file in list_files() if file.name == name), None)


def list_files() -> list[SqliteFile]:
    """All such files in the BACKUP_DIR of this process. One that cannot be read is not listed."""
    try:
        with os.scandir(conf.BACKUP_DIR.absolute() / directory.NAME) as entries:
            found = [entry for entry in entries if NAME.fullmatch(entry.name) and entry.is_file(follow_symlinks=False)]
            return [
                SqliteFile(
                    path=Path(entry.path),
                    size=(status := entry.stat(follow_symlinks=False)).st_size,
                    made_at=dt.datetime.fromtimestamp(status.st_mtime, dt.UTC),
                )
                for entry in found
            ]
    except OSError:
        return []


def would_be_seen(path: str) -> bool:
    """Whether this process would see the file at `path` if that was there, on this machine."""
    parent = conf.BACKUP_DIR.absolute() / directory.NAME
    try:
        return str(parent) == str(PurePath(path).parent) and (
            not parent.exists() or os.access(parent, os.R_OK | os.X_OK)
        )
    except PermissionError:
        return False


def kept_until(made_at: dt.datetime) -> dt.datetime:
    """When a file that was made then is deleted by age: after UNDO_KEEP_DAYS."""
    return made_at + dt.timedelta(days=stored_settings.undo_keep_days())


def files_expired() -> bool:
    return any(kept_until(file.made_at) < clock.now() and not is_in_use(file.path) for file in list_files())


def is_in_use(path: Path) -> bool:
    """Whether a site uses it as its database where it is. SQLite has journals next to a file that is open."""
    if any(sibling(path, suffix).exists() for suffix in JOURNALS):
        return True
    named = (parse_name(str(database.get("NAME") or ""))[0] for database in settings.DATABASES.values())
    return any(name.resolve() == path.resolve() for name in named if name.name)


# --- Download -------------------------------------------------------------------------------------------------------
def record_file_download(context: OpsContext, run: Run) -> "File[bytes]":
    """Record that a user downloads the file ``file``, and open it. Raises OpsError if it cannot be recorded or read.

    A download changes nothing, so it does not need the lock of the database.
    """
    name = run.arguments["file"]
    if not NAME.fullmatch(name):
        raise ArtifactInvalid(f"{name!r} is not the name of a SQLite file of a migration.", MAKE_ANOTHER)
    try:
        file = PrivateFileSystemStorage(conf.BACKUP_DIR).open(f"{directory.NAME}/{name}", "rb")
    except FileNotFoundError as error:
        raise ArtifactInvalid(f"The file {name} is no longer there.", MAKE_ANOTHER) from error
    try:
        executor.log_instant(context, run)
    except BaseException:
        file.close()
        raise
    return file


# --- Delete ---------------------------------------------------------------------------------------------------------
@operation(Run.Kind.SQLITE_DELETION)
def delete_sqlite_files(_context: OpsContext, run: RunRecorder, *, expired: bool = False) -> FileDeletionResult:
    """Delete the files, or those that have `expired`. One that a site uses as its database is not deleted.

    Raises PreconditionFailed if there is nothing to delete.
    """
    found = [file for file in list_files() if not expired or kept_until(file.made_at) < clock.now()]
    if not found:
        raise PreconditionFailed(
            f"There is no {'expired ' if expired else ''}SQLite file in {conf.BACKUP_DIR / directory.NAME}."
            " Nothing was deleted."
        )
    used = [file for file in found if is_in_use(file.path)]
    if used == found:
        raise PreconditionFailed(
            f"A program has {join_names([str(file.path) for file in used])} open as its database. Nothing was deleted.",
            "Stop it, move the file out of BACKUP_DIR, and let the program use it there.",
        )
    return delete(run, [file for file in found if file not in used])


def delete_earlier_files(run: RunRecorder, *, newest: Path) -> None:
    """Delete all files but the `newest`, and those that a site uses."""
    try:
        delete(run, [file for file in list_files() if file.path != newest and not is_in_use(file.path)])
    except PreconditionFailed as error:
        run.log(error.message)


def delete(run: RunRecorder, files: list[SqliteFile]) -> FileDeletionResult:
    """Raises PreconditionFailed if one cannot be deleted."""
    for file in files:
        try:
            file.path.unlink(missing_ok=True)
        except OSError as error:
            raise PreconditionFailed(
                f"{file.path} could not be deleted: {error.strerror}.", "Delete it as its owner."
            ) from error
        run.log(f"Deleted {file.path}.")
    return FileDeletionResult(files=tuple(file.name for file in files), size=sum(file.size for file in files))
