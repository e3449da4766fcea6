"""Working directories next to a database, which are recognised after their program was killed."""

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
    """A new private directory in `parent` for the database file named `of`, deleted at the end of the block."""
    try:
        directory = Path(tempfile.mkdtemp(prefix=of + INFIX, dir=parent))
    except OSError as error:
        raise PreconditionFailed(
            f"No working directory can be created in {parent}: {error.strerror}.",
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
    """Delete the directories of programs that have ended. Returns their paths."""
    leftover = [path for path in sorted(parent.glob(f"{glob.escape(of)}{INFIX}*")) if is_abandoned(path)]
    for path in leftover:
        shutil.rmtree(path)
    return leftover


def is_abandoned(directory: Path) -> bool:
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        # Not ours, or deleted meanwhile.
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        return True
    finally:
        os.close(descriptor)
