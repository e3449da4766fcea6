"""The new SQLite file: built in a working directory next to its name, and renamed when it is verified."""

import contextlib
import errno
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from django.db.backends.base.base import BaseDatabaseWrapper

from ops.databases.migration_state import run_migrations
from ops.databases.override import new_wrapper, override_database
from ops.databases.sqlite.files import JOURNALS, copy_owner, sibling, sync
from ops.databases.sqlite.snapshot import create_private
from ops.databases.sqlite.workdir import sweep, working_directory
from ops.errors import PreconditionFailed

UNSAFE_AND_FAST = "PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF; PRAGMA cache_size = -16000"
"""Until it is verified and synced, the file is thrown away when anything fails. The cache is in KiB."""
NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
"""Errors of a file system without hard links."""


def require_free(path: Path) -> None:
    """Raises PreconditionFailed unless a new file can get this name."""
    for taken in (path, *(sibling(path, suffix) for suffix in JOURNALS)):
        if os.path.lexists(taken):
            raise PreconditionFailed(
                f"{taken} exists already. Nothing was changed.", "Name a new file, or move that one away."
            )
    if not path.parent.is_dir():
        raise PreconditionFailed(
            f"There is no directory {path.parent}. Nothing was changed.", "Create it, or name another file."
        )


@contextlib.contextmanager
def staging_file(path: Path) -> Iterator[Path]:
    """A file with the project's tables in a directory that is deleted at the end of the block."""
    with working_directory(path.parent, of=path.name) as directory:
        file = directory / path.name
        create_private(file)
        with override_database(staging_wrapper(file)):
            run_migrations()
        yield file


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
    """Delete the directories that killed migrations to `path` left. Returns a sentence for each."""
    if not path.parent.is_dir():
        return ()
    return tuple(
        f"Deleted {swept}, the working directory of a killed run." for swept in sweep(path.parent, of=path.name)
    )


def move_into_place(file: Path, path: Path) -> None:
    """Give the staging file its name, unless that has been taken meanwhile. Raises PreconditionFailed."""
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
    sync(path.parent)
