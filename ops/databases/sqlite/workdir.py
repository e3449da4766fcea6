"""Directories beside a database for files on their way; recognisable when a killed program leaves them."""

import contextlib
import fcntl
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ops.errors import PreconditionFailed

INFIX = ".ops-work-"


@contextlib.contextmanager
def working_directory(parent: Path, *, of: str) -> Iterator[Path]:
    """A new directory in `parent` for files of the database file named `of`, closed to others, gone with the block."""
    try:
        directory = Path(tempfile.mkdtemp(prefix=of + INFIX, dir=parent))
    except OSError as error:
        raise PreconditionFailed(
            f"No directory for the work can be made in {parent}: {error.strerror}.",
            "Free some space there, or run as its owner.",
        ) from error
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield directory
    finally:
        shutil.rmtree(directory)
        os.close(descriptor)


def sweep(parent: Path, *, of: str) -> list[Path]:
    """Remove the directories whose program is gone, and tell which these were."""
    leftover = [path for path in sorted(parent.glob(f"{glob.escape(of)}{INFIX}*")) if is_abandoned(path)]
    for path in leftover:
        shutil.rmtree(path)
    return leftover


def is_abandoned(directory: Path) -> bool:
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        # Somebody else's, or gone by now.
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        return True
    finally:
        os.close(descriptor)
