"""The runtime directory of `manage.py serve`: its lock file and the socket of its Redis."""

import contextlib
import fcntl
import hashlib
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

PLAIN_PATH = re.compile(r"[\w./-]{1,100}", re.ASCII)
"""Needs no quoting in a URL, and is short enough for a socket path (104 bytes on macOS)."""


class AlreadyRunning(Exception):
    """Another process serves this database. The message is the label in its lock file."""


@contextlib.contextmanager
def runtime_dir(parent: Path, database: Mapping[str, Any], *, label: str) -> Iterator[Path]:
    """A directory below `parent` (mode 0700) that belongs to one server of `database` at a time.

    Two servers of one database would start every scheduled task twice. Raises AlreadyRunning. The kernel releases the
    lock when the process ends, even by SIGKILL.
    """
    identity = repr([str(database.get(key, "")) for key in ("ENGINE", "HOST", "PORT", "NAME")])
    folder = parent / hashlib.sha256(identity.encode()).hexdigest()[:12]
    for made in (parent, folder):
        made.mkdir(mode=0o700, exist_ok=True)
    with (folder / "lock").open("a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            raise AlreadyRunning(lock.read()) from error
        lock.truncate(0)
        lock.write(label)
        lock.flush()
        remove_sockets(folder)
        try:
            yield folder
        finally:
            remove_sockets(folder)


def remove_sockets(folder: Path) -> None:
    """Remove the sockets, including those of a server that was killed."""
    for socket in folder.glob("*.sock"):
        socket.unlink(missing_ok=True)


@contextlib.contextmanager
def socket_path(folder: Path) -> Iterator[Path]:
    """A path for a socket: in `folder` or, if that path is unsuitable for a URL, in a temporary directory (mode 0700).

    The name contains the process id, because a Redis that ends removes its socket by name, and must not remove that of
    a later server.
    """
    path = folder / f"redis-{os.getpid()}.sock"
    if PLAIN_PATH.fullmatch(str(path)):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="homerack-", ignore_cleanup_errors=True) as temporary:
        yield Path(temporary) / path.name
