"""The directory in BACKUP_DIR for the SQLite files that runs of the admin make, and for the work on them."""

import os
from pathlib import Path

from ops.databases.sqlite.workdir import sweep_all
from ops.errors import PreconditionFailed

NAME = "sqlite"


def make_directory(backups: Path) -> Path:
    """Create it for this user only, unless it exists. Raises PreconditionFailed."""
    directory = backups / NAME
    try:
        backups.mkdir(parents=True, exist_ok=True, mode=0o700)
        directory.mkdir(exist_ok=True, mode=0o700)
        if directory.is_symlink():
            raise NotADirectoryError(0, "it is a symbolic link")
        directory.chmod(0o700)
    except OSError as error:
        raise PreconditionFailed(
            f"The directory {directory} cannot be used: {error.strerror or os.strerror(error.errno or 0)}."
            " Nothing was changed.",
            "Set BACKUP_DIR to a directory that you can write to.",
        ) from error
    return directory


def sweep_directory(backups: Path) -> tuple[str, ...]:
    """Delete what killed runs left in it. Returns a sentence for each."""
    return tuple(f"Deleted {path}, the working directory of a killed run." for path in sweep_all(backups / NAME))
