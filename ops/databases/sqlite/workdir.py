"""Working directories, which are recognised after their program was killed."""

import contextlib
import errno
import fcntl
import glob
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ops.errors import PreconditionFailed

INFIX = ".ops-work-"
LOCK = "lock"
"""A file in the directory that its program has locked. The system ends the lock with the process."""
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}
"""Errors of a file system without locks. What a killed program leaves there stays."""


@contextlib.contextmanager
def working_directory(parent: Path, *, of: str) -> Iterator[Path]:
    """A new private directory in `parent` for the file named `of`, deleted at the end of the block."""
    try:
        directory, lock = create(parent, of)
    except OSError as error:
        raise PreconditionFailed(
            f"No working directory can be created in {parent}: {error.strerror}. Nothing was changed.",
            "Free some space there, or run as its owner.",
        ) from error
    with lock:
        try:
            yield directory
        finally:
            # What stays is deleted by the next sweep.
            shutil.rmtree(directory, ignore_errors=True)


def create(parent: Path, of: str) -> tuple[Path, contextlib.AbstractContextManager[object]]:
    """A locked directory. Until it is locked, another program's sweep may delete it; then there is another one."""
    while True:
        directory = Path(tempfile.mkdtemp(prefix=of + INFIX, dir=parent))
        try:
            return directory, locked(directory)
        except (BlockingIOError, FileNotFoundError):
            continue
        except OSError as error:
            if error.errno in NO_LOCKS:
                return directory, contextlib.nullcontext()
            shutil.rmtree(directory, ignore_errors=True)
            raise


def locked(directory: Path) -> contextlib.AbstractContextManager[object]:
    """Lock the directory until the context ends. Raises OSError, BlockingIOError where it is another program's."""
    path = directory / LOCK
    with contextlib.ExitStack() as stack:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        file = stack.enter_context(os.fdopen(descriptor, "rb+"))
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.stat().st_ino != os.fstat(descriptor).st_ino:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        stack.pop_all()
    return file


def sweep(parent: Path, *, of: str) -> list[Path]:
    """Delete the directories of programs that have ended. Returns their paths."""
    return sweep_matching(parent, f"{glob.escape(of)}{INFIX}*")


def sweep_all(parent: Path) -> list[Path]:
    """As `sweep`, for files of any name."""
    return sweep_matching(parent, f"*{INFIX}*")


def sweep_matching(parent: Path, pattern: str) -> list[Path]:
    swept = []
    for path in sorted(parent.glob(pattern)):
        # What is another program's, or cannot be deleted, stays.
        with contextlib.suppress(OSError):
            if not is_ours(path, parent):
                continue
            with locked(path):
                shutil.rmtree(path)
            swept.append(path)
    return swept


def is_ours(path: Path, parent: Path) -> bool:
    """Whether it is a directory of this user or of the owner of `parent`: anybody can write to ``/tmp``."""
    status = path.lstat()
    return stat.S_ISDIR(status.st_mode) and status.st_uid in {os.geteuid(), parent.stat().st_uid}
