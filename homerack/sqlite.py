"""Makes the SQLite file private, regardless of the umask."""

import contextlib
import os
import sqlite3
import stat
from pathlib import Path
from typing import Any

JOURNALS = ("-wal", "-shm", "-journal")
FOR_ALL = stat.S_IROTH | stat.S_IWOTH


class PrivateFile(sqlite3.Connection):
    """A connection that creates its file with mode 0600 before SQLite opens it, which would create it with 0644.

    SQLite gives its journals the mode of the file. An existing file that all users can read becomes private as well.
    Group permissions are kept, because they have been set on purpose.
    """

    def __init__(self, database: str, *args: Any, **kwargs: Any) -> None:
        if not database.startswith((":memory:", "file:")):
            make_private(Path(database))
        super().__init__(database, *args, **kwargs)


def make_private(path: Path) -> None:
    """Existing files are not opened: closing one would release the locks of other connections of this process."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        for existing in (path, *(path.with_name(path.name + suffix) for suffix in JOURNALS)):
            with contextlib.suppress(FileNotFoundError, PermissionError):
                if existing.stat().st_mode & FOR_ALL:
                    existing.chmod(0o600)
    except OSError:
        pass  # a missing or inaccessible directory: SQLite reports it more clearly
