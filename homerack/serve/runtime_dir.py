"""The private folder of a HomeRack that is being served: a lock, and the socket of its Redis."""

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
"""What may stand in an address unquoted, and is short enough for the name of a socket (104 bytes on macOS)."""


class AlreadyRunning(Exception):
    """Another process serves this database; the message is the label that it left."""


@contextlib.contextmanager
def runtime_dir(parent: Path, database: Mapping[str, Any], *, label: str) -> Iterator[Path]:
    """A folder below `parent` (mode 0700) that belongs to one server of `database` at a time, without leftovers.

    Two servers of one database would start every schedule twice. Raises AlreadyServed. The lock is the kernel's, so
    that it goes with the process, however that ends.
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
    """Also those of a server that was killed."""
    for socket in folder.glob("*.sock"):
        socket.unlink(missing_ok=True)


@contextlib.contextmanager
def socket_path(folder: Path) -> Iterator[Path]:
    """Where a socket can be: in `folder` or, when its path does not do for an address, in a temporary one of 0700.

    Its name is this process's own, because a Redis that ends removes its socket by name, be it another's by now.
    """
    path = folder / f"redis-{os.getpid()}.sock"
    if PLAIN_PATH.fullmatch(str(path)):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="homerack-", ignore_cleanup_errors=True) as temporary:
        yield Path(temporary) / path.name
