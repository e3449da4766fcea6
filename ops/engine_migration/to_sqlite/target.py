"""The new SQLite file: built in a working directory next to its name, and renamed when it is verified."""

import contextlib
import errno
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from django.db import Error as DatabaseError
from django.db import OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper

from ops.databases.migration_state import run_migrations
from ops.databases.override import new_wrapper, override_database
from ops.databases.sqlite.files import JOURNALS, copy_owner, sibling, sync
from ops.databases.sqlite.snapshot import create_private
from ops.databases.sqlite.workdir import INFIX, sweep_all, working_directory
from ops.errors import OpsError, PreconditionFailed

UNSAFE_AND_FAST = "PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF; PRAGMA cache_size = -16000"
"""Until it is verified and synced, the file is thrown away when anything fails. The cache is in KiB."""
LONGEST_NAME = 255 - len(f"{INFIX}xxxxxxxx")
"""Bytes. The name of the working directory begins with that of the file."""
NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
"""Errors of a file system without hard links."""


def require_free(path: Path) -> None:
    """Raises PreconditionFailed unless a new file can get this name."""
    if len(os.fsencode(path.name)) > LONGEST_NAME:
        raise PreconditionFailed(
            f"The name of the file has more than {LONGEST_NAME} bytes. Nothing was changed.", "Choose a shorter one."
        )
    for taken in (path, *(sibling(path, suffix) for suffix in JOURNALS)):
        if os.path.lexists(taken):
            raise PreconditionFailed(
                f"{taken} exists already. Nothing was changed.", "Name a new file, or move that one away."
            )
    if not os.path.isdir(path.parent):  # noqa: PTH112 - False also where a directory above may not be read
        raise PreconditionFailed(
            f"There is no directory {path.parent}. Nothing was changed.", "Create it, or name another file."
        )


@contextlib.contextmanager
def staging_file(path: Path) -> Iterator[Path]:
    """A file with the project's tables in a directory that is deleted at the end of the block."""
    with working_directory(path.parent, of=path.name) as directory:
        file = directory / path.name
        with explain_errors(path):
            create_private(file)
            with override_database(staging_wrapper(file)):
                create_tables()
        yield file


def create_tables() -> None:
    """Raises the error of SQLite where the disk is the reason, and otherwise OpsError with the failed migration."""
    try:
        run_migrations()
    except OpsError as error:
        if isinstance(error.__cause__, OperationalError) and "disk" in str(error.__cause__):
            raise error.__cause__ from error.__cause__.__cause__
        raise


@contextlib.contextmanager
def explain_errors(path: Path) -> Iterator[None]:
    """Raise errors of the file system and of SQLite as PreconditionFailed. Those of PostgreSQL pass."""
    try:
        yield
    except BrokenPipeError:
        # Of standard output.
        raise
    except (OSError, sqlite3.DatabaseError, DatabaseError) as error:
        cause = error.__cause__ if isinstance(error, DatabaseError) else error
        if not isinstance(cause, OSError | sqlite3.Error):
            raise
        reason = cause.strerror if isinstance(cause, OSError) else str(cause)
        raise PreconditionFailed(
            f"The file could not be written to {path.parent}: {reason}. There is no file {path}.",
            "Check that this directory can be written to and has space for the file, and run the command again.",
        ) from error


def staging_wrapper(file: Path) -> BaseDatabaseWrapper:
    """Django's view of the staging file."""
    return new_wrapper("django.db.backends.sqlite3", NAME=str(file), OPTIONS={"init_command": UNSAFE_AND_FAST})


@contextlib.contextmanager
def opened(file: Path) -> Iterator[sqlite3.Connection]:
    """A connection to the staging file that has the functions of Django and of the project. It checks no keys."""
    with contextlib.closing(staging_wrapper(file)) as wrapper:
        wrapper.connect()
        connection: sqlite3.Connection = wrapper.connection
        connection.execute("PRAGMA foreign_keys = OFF")
        # Not Django's converters: what is stored is read.
        connection.text_factory = str
        yield connection


def sweep_directories(path: Path) -> tuple[str, ...]:
    """Delete what killed migrations left next to `path`, to files of any name. Returns a sentence for each directory.

    Those of running programs stay.
    """
    if not os.path.isdir(path.parent):  # noqa: PTH112
        return ()
    return tuple(f"Deleted {swept}, the working directory of a killed run." for swept in sweep_all(path.parent))


def move_into_place(file: Path, path: Path) -> None:
    """Give the staging file its name, unless that has been taken meanwhile. Raises PreconditionFailed or OSError."""
    copy_owner(file, path)
    sync(file)
    require_free(path)
    try:
        path.hardlink_to(file)
    except FileExistsError:
        require_free(path)
        raise
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        file.rename(path)
    try:
        sync(path.parent)
    except OSError:
        path.unlink()
        raise
