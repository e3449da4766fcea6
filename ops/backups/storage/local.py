"""The default storage: a private directory whose files are complete or absent."""

import contextlib
import datetime as dt
import errno
import fcntl
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from django.core.exceptions import SuspiciousFileOperation
from django.core.files.base import File
from django.core.files.storage import Storage
from django.utils.deconstruct import deconstructible

from ops.backups.storage.entries import Entry
from ops.errors import PreconditionFailed

PARTIAL = ".partial"
"""Suffix of a file that is being written."""
ATTEMPTS = 10
"""At making a partial file, while other processes remove abandoned ones of that name."""
NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL}
DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
NEW_OR_OLD_FILE = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
OLD_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@deconstructible(path="ops.backups.storage.local.PrivateFileSystemStorage")
class PrivateFileSystemStorage(Storage):
    """Files of mode 0600 in directories of mode 0700, whatever the umask is.

    A file is written under a partial name, synced and renamed, so that a crash leaves the old or the new state. `save`
    never overwrites, `replace` does. `location` may be a symbolic link; links below it are not followed. Names are
    ``name`` or ``folder/name``; others raise SuspiciousFileOperation. Errors of the system raise PreconditionFailed.
    """

    def __init__(self, location: str | Path) -> None:
        self.location = Path(location).absolute()

    @property
    def display_location(self) -> str:
        return str(self.location)

    def path(self, name: str) -> str:
        return str(self.location.joinpath(*split_name(name)))

    def get_available_name(self, name: str, max_length: int | None = None) -> str:  # noqa: ARG002  # Django's interface
        """The name itself: an existing file is an error."""
        return name

    def replace(self, name: str, content: "File[bytes]") -> None:
        """As `save`, but overwrites. Readers see the old or the new content."""
        self.write(name, content, overwrite=True)

    def _save(self, name: str, content: "File[bytes]") -> str:
        self.write(name, content, overwrite=False)
        return name

    def write(self, name: str, content: "File[bytes]", *, overwrite: bool) -> None:
        with self.folder(name, create=True) as (folder, last):
            partial = last + PARTIAL
            descriptor = self.create(name, folder, partial)
            try:
                # Other writers need the partial name, so the file cannot appear before it is renamed.
                if not overwrite and exists_in(folder, last):
                    raise PreconditionFailed(f"{self.path(name)} exists already.", "Nothing was changed.")  # noqa: TRY301
                self.write_content(name, descriptor, content)
                with self.translate_errors(name):
                    os.replace(partial, last, src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(partial, dir_fd=folder)
                raise
            finally:
                os.close(descriptor)
            with self.translate_errors(name):
                os.fsync(folder)

    def create(self, name: str, folder: int, partial: str) -> int:
        """A descriptor of the new file `partial`, locked until it is closed. One that a killed writer left is replaced.

        Raises PreconditionFailed while another process writes it.
        """
        for _attempt in range(ATTEMPTS):
            try:
                with self.translate_errors(name):
                    descriptor = os.open(partial, NEW_FILE, 0o600, dir_fd=folder)
            except FileExistsError:
                if not remove_abandoned(folder, partial):
                    break
                continue
            if lock(descriptor, without_locks=True) and is_at(descriptor, folder, partial):
                return descriptor
            os.close(descriptor)
        raise PreconditionFailed(
            f"{self.path(name)}{PARTIAL} exists: another run is writing it.", "Wait for the other run."
        )

    def sweep(self, folder: str) -> None:
        """Remove the partial files in `folder` whose writers were killed."""
        for name in self.entries(folder):
            if name.endswith(PARTIAL):
                with contextlib.suppress(FileNotFoundError), self.folder(f"{folder}/{name}") as (directory, last):
                    remove_abandoned(directory, last)

    def write_content(self, name: str, descriptor: int, content: "File[bytes]") -> None:
        """Errors of the content are passed on; those of the disk become PreconditionFailed."""
        with self.translate_errors(name):
            os.fchmod(descriptor, 0o600)
        for block in content.chunks():
            with self.translate_errors(name):
                write_all(descriptor, block)
        with self.translate_errors(name):
            os.fsync(descriptor)

    def _open(self, name: str, mode: str = "rb") -> "File[bytes]":
        if mode != "rb":
            raise ValueError(f"Backups are read with mode 'rb', not {mode!r}.")
        with self.folder(name) as (folder, last), self.translate_errors(name):
            descriptor = os.open(last, OLD_FILE, dir_fd=folder)
        file = os.fdopen(descriptor, "rb")
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            file.close()
            raise PreconditionFailed(f"{self.path(name)} is not a file.", "Move it away.")
        return File(file, name)

    def exists(self, name: str) -> bool:
        try:
            with self.folder(name) as (folder, last):
                return exists_in(folder, last)
        except FileNotFoundError:
            return False

    def size(self, name: str) -> int:
        with self.folder(name) as (folder, last):
            return os.stat(last, dir_fd=folder, follow_symlinks=False).st_size

    def delete(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError), self.folder(name) as (folder, last), self.translate_errors(name):
            os.unlink(last, dir_fd=folder)
            os.fsync(folder)

    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        """Names of directories and of other entries; both empty where there is no such directory."""
        inside = "any" if path in {"", "."} else f"{path}/any"
        try:
            with (
                self.folder(inside) as (folder, _),
                self.translate_errors(inside),
                os.scandir(folder) as found_here,
            ):
                entries = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in found_here]
        except FileNotFoundError:
            return [], []
        directories = sorted(name for name, is_directory in entries if is_directory)
        return directories, sorted(name for name, is_directory in entries if not is_directory)

    def entries(self, folder: str = "") -> dict[str, Entry]:
        """What is in `folder` besides directories, by name; nothing where there is no such directory."""
        try:
            with (
                self.folder(f"{folder}/any" if folder else "any") as (directory, _),
                self.translate_errors(folder or "any"),
                os.scandir(directory) as found_here,
            ):
                return dict(entries_of(found_here))
        except FileNotFoundError:
            return {}

    def locked_until(self, name: str) -> dt.datetime | None:  # noqa: ARG002  # as in other storages
        """None: its owner can delete a file at any time."""
        return None

    def free_bytes(self) -> int | None:
        """Free bytes for this user where the directory is or will be created; None where the system does not tell."""
        existing = next(folder for folder in (self.location, *self.location.parents) if folder.exists())
        try:
            disk = os.statvfs(existing)
        except OSError:
            return None
        return disk.f_bavail * disk.f_frsize

    @contextlib.contextmanager
    def folder(self, name: str, *, create: bool = False) -> Iterator[tuple[int, str]]:
        """A descriptor of the directory of `name`, and the name in it. Raises FileNotFoundError, unless `create`.

        A descriptor, because a symbolic link could redirect a path between two calls.
        """
        *parents, last = split_name(name)
        with contextlib.ExitStack() as stack:
            with self.translate_errors(name):
                if create:
                    make_directory(self.location)
                descriptor = os.open(self.location, DIRECTORY)
                stack.callback(os.close, descriptor)
                for part in parents:
                    if create:
                        restrict_permissions(descriptor)
                        make_directory(part, within=descriptor)
                    descriptor = os.open(part, DIRECTORY | os.O_NOFOLLOW, dir_fd=descriptor)
                    stack.callback(os.close, descriptor)
                if create:
                    restrict_permissions(descriptor)
            yield descriptor, last

    @contextlib.contextmanager
    def translate_errors(self, name: str) -> Iterator[None]:
        """Turn errors of the system into PreconditionFailed. FileNotFoundError and FileExistsError are passed on."""
        path = self.path(name)
        try:
            yield
        except (FileNotFoundError, FileExistsError):
            raise
        except OSError as error:
            if error.errno in DISK_FULL:
                raise PreconditionFailed(
                    f"{path} could not be written: {os.strerror(error.errno or 0)}.",
                    "Free some space there, or set BACKUP_DIR to another disk.",
                ) from error
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise PreconditionFailed(
                    f"{path} is, or is reached through, a symbolic link or another unexpected file.",
                    "Backups are not read or written through links. Remove it, or set BACKUP_DIR to where it leads.",
                ) from error
            raise PreconditionFailed(
                f"{path} is not accessible: {os.strerror(error.errno or 0)}.",
                f"{self.location} and its content must belong to the user that runs this.",
            ) from error


def split_name(name: str) -> list[str]:
    parts = name.split("/")
    if len(parts) > 2 or any(part in {"", ".", ".."} or "\\" in part or "\0" in part for part in parts):
        raise SuspiciousFileOperation(f"{name!r} is not a valid file name for backups.")
    return parts


def make_directory(path: Path | str, *, within: int | None = None) -> None:
    """Create a directory of mode 0700 unless it exists."""
    if within is None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o700, dir_fd=within)
        if within is not None:
            os.fsync(within)


def restrict_permissions(directory: int) -> None:
    if stat.S_IMODE(os.fstat(directory).st_mode) != 0o700:
        os.fchmod(directory, 0o700)


def entries_of(found: Iterable["os.DirEntry[str]"]) -> Iterator[tuple[str, Entry]]:
    for entry in found:
        # Another process may delete it after it was listed.
        with contextlib.suppress(FileNotFoundError):
            status = entry.stat(follow_symlinks=False)
            # Links and devices are listed, because reading them says what is wrong.
            if not stat.S_ISDIR(status.st_mode):
                yield entry.name, Entry(status.st_size, dt.datetime.fromtimestamp(status.st_mtime, dt.UTC))


def lock(descriptor: int, *, without_locks: bool) -> bool:
    """Whether this process has it locked now; `without_locks` is the answer on a file system that has no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        return without_locks and error.errno in NO_LOCKS
    return True


def is_at(descriptor: int, folder: int, name: str) -> bool:
    """Whether the open file is the one that has this name now."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(name, dir_fd=folder, follow_symlinks=False))
    except FileNotFoundError:
        return False


def remove_abandoned(folder: int, partial: str) -> bool:
    """Remove a partial file whose writer was killed. False if it is being written, or is no such file."""
    try:
        descriptor = os.open(partial, OLD_FILE, dir_fd=folder)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode) or not lock(descriptor, without_locks=False):
            return False
        # Under the lock: another process may have removed it meanwhile, and made its own.
        if is_at(descriptor, folder, partial):
            os.unlink(partial, dir_fd=folder)
    finally:
        os.close(descriptor)
    return True


def exists_in(folder: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def write_all(descriptor: int, block: Any) -> None:
    remaining = memoryview(block)
    while remaining:
        remaining = remaining[os.write(descriptor, remaining) :]
