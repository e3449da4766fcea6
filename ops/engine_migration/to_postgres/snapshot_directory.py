"""The directory in which a migration makes its copy of the file. The next run deletes that of a killed one."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ops.databases.sqlite.workdir import sweep, working_directory
from ops.errors import PreconditionFailed

NAME = "migration"


@contextlib.contextmanager
def snapshot_directory(backups: Path, *, keep: bool) -> Iterator[Path]:
    """A working directory in `backups`, from which a copy that is kept is moved there.

    A copy that is not kept may be in the directory for temporary files, where `backups` cannot be written.
    """
    with contextlib.ExitStack() as stack:
        try:
            backups.mkdir(parents=True, exist_ok=True, mode=0o700)
            directory = stack.enter_context(working_directory(backups, of=NAME))
        except (OSError, PreconditionFailed) as error:
            if keep:
                raise unusable(backups, error) from error
            directory = stack.enter_context(working_directory(Path(tempfile.gettempdir()), of=NAME))
        yield directory


def unusable(backups: Path, error: OSError | PreconditionFailed) -> PreconditionFailed:
    cause = error if isinstance(error, OSError) else error.__cause__
    reason = cause.strerror if isinstance(cause, OSError) else ""
    return PreconditionFailed(
        f"The directory {backups} cannot be used: {reason}.", "Set BACKUP_DIR to a directory that you can write to."
    )


def sweep_snapshots(backups: Path) -> tuple[str, ...]:
    """Delete the directories that killed migrations left. Returns a sentence for each."""
    places = dict.fromkeys((backups, Path(tempfile.gettempdir())))
    return tuple(
        f"Deleted {path}, the working directory of a killed run." for place in places for path in sweep(place, of=NAME)
    )
