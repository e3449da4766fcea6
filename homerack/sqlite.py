"""SQLite's file belongs to one user, whatever the umask of who makes it."""

import contextlib
import os
import sqlite3
import stat
from pathlib import Path
from typing import Any

JOURNALS = ("-wal", "-shm", "-journal")
FOR_ALL = stat.S_IROTH | stat.S_IWOTH


class PrivateFile(sqlite3.Connection):
    """A connection whose file is made with mode 0600 before SQLite, which would make it 0644, opens it.

    SQLite gives its journals the mode of the file. A file that everybody may read becomes private, too; one that only a
    group may read is somebody's decision.
    """

    def __init__(self, database: str, *args: Any, **kwargs: Any) -> None:
        if not database.startswith((":memory:", "file:")):
            make_private(Path(database))
        super().__init__(database, *args, **kwargs)


def make_private(path: Path) -> None:
    """An existing file is not opened: to close it would end the locks of other connections of this process."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        for existing in (path, *(path.with_name(path.name + suffix) for suffix in JOURNALS)):
            with contextlib.suppress(FileNotFoundError, PermissionError):
                if existing.stat().st_mode & FOR_ALL:
                    existing.chmod(0o600)
    except OSError:
        pass  # the folder is missing, or not ours: SQLite says so better
