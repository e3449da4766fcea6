"""One operation at a time on a database file: a lock of the kernel, which ends with the process."""

import contextlib
import datetime as dt
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path

from ops.databases.sqlite.files import copy_owner, sibling
from ops.errors import AlreadyRunning, PreconditionFailed

SUFFIX = ".ops-lock"


@contextlib.contextmanager
def locked(path: Path, label: str) -> Iterator[None]:
    """Hold `path`. Raises AlreadyRunning with the label of the holder and since when."""
    with held(open_lock(path), label, busy=f"Another operation on {path} is running"):
        yield


@contextlib.contextmanager
def held(descriptor: int, label: str, *, busy: str) -> Iterator[None]:
    """Hold the lock file `descriptor`, and close it. Raises AlreadyRunning: `busy`, and the label of the holder."""
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            label, since = read_holder(descriptor)
            raise AlreadyRunning(
                f"{busy}{f': {label}, since {since}' if label else ''}.",
                "Wait until it has ended, or stop it, and run the command again.",
                holder=label,
            ) from error
        write(descriptor, json.dumps({"label": label, "since": f"{dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M:%S} UTC"}))
        try:
            yield
        finally:
            write(descriptor, "")
    finally:
        os.close(descriptor)


def open_lock(path: Path) -> int:
    file = sibling(path, SUFFIX)
    try:
        descriptor = os.open(file, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise PreconditionFailed(
            f"The lock file {file} cannot be opened: {error.strerror}.",
            f"Run as the owner of {path}.",
        ) from error
    copy_owner(file, path)
    return descriptor


def read_holder(descriptor: int) -> tuple[str, str]:
    """The label of the holder, and since when it holds the lock; empty before the holder has written them."""
    try:
        content = json.loads(os.pread(descriptor, 10_000, 0))
        return content["label"], content["since"]
    except (ValueError, KeyError, TypeError):
        return "", ""


def write(descriptor: int, text: str) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, text.encode(), 0)
