"""The default place for backups: a directory for nobody else, whose files are there in full or not at all."""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.core.exceptions import SuspiciousFileOperation
from django.core.files.base import File
from django.core.files.storage import Storage
from django.utils.deconstruct import deconstructible

from ops.errors import PreconditionFailed

PARTIAL = ".partial"
"""What the name of a file ends in while it is written."""
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
OLD_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@deconstructible(path="ops.backups.storage.local.PrivateFileSystemStorage")
class PrivateFileSystemStorage(Storage):
    """Files of mode 0600 in directories of mode 0700, whatever the umask is.

    A file is written under a partial name, brought to the disk and renamed, so that a crash leaves the old state or the
    new one. `save` never overwrites, `replace` does. `location` itself may be a symbolic link, nothing below it is
    followed. Names are ``name`` or ``folder/name``; others raise SuspiciousFileOperation. Where the system refuses,
    PreconditionFailed names the file.
    """

    def __init__(self, location: str | Path) -> None:
        self.location = Path(location).absolute()

    def path(self, name: str) -> str:
        return str(self.location.joinpath(*split_name(name)))

    def get_available_name(self, name: str, max_length: int | None = None) -> str:  # noqa: ARG002  # Django's interface
        """The name as it is: a taken one is an error, not a reason for another."""
        return name

    def replace(self, name: str, content: "File[bytes]") -> None:
        """As `save`, over what may be there. Whoever reads meanwhile sees the old content or the new one."""
        self.write(name, content, overwrite=True)

    def _save(self, name: str, content: "File[bytes]") -> str:
        self.write(name, content, overwrite=False)
        return name

    def write(self, name: str, content: "File[bytes]", *, overwrite: bool) -> None:
        with self.folder(name, create=True) as (folder, last):
            partial = last + PARTIAL
            descriptor = self.create(name, folder, partial)
            try:
                try:
                    # Others wait for the partial name, so what is not there now will not come before the renaming.
                    if not overwrite and found(folder, last):
                        raise PreconditionFailed(f"{self.path(name)} exists already.", "It was left as it is.")
                    self.fill(name, descriptor, content)
                finally:
                    os.close(descriptor)
                with self.translate_errors(name):
                    os.replace(partial, last, src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(partial, dir_fd=folder)
                raise
            with self.translate_errors(name):
                os.fsync(folder)

    def create(self, name: str, folder: int, partial: str) -> int:
        try:
            with self.translate_errors(name):
                return os.open(partial, NEW_FILE, 0o600, dir_fd=folder)
        except FileExistsError as error:
            raise PreconditionFailed(
                f"{self.path(name)}{PARTIAL} exists: another run is writing it, or was killed while it did.",
                "Wait for the other run. What a killed one left goes when the next backup is made.",
            ) from error

    def fill(self, name: str, descriptor: int, content: "File[bytes]") -> None:
        """Errors of the content are passed on; those of the disk are explained."""
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
            raise PreconditionFailed(f"{self.path(name)} is not a file.", "Take it away from there.")
        return File(file, name)

    def exists(self, name: str) -> bool:
        try:
            with self.folder(name) as (folder, last):
                return found(folder, last)
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
        """Names of directories and of everything else; both empty where there is no such directory."""
        try:
            with (
                self.folder(f"{path}/any" if path not in {"", "."} else "any") as (folder, _),
                os.scandir(folder) as found_here,
            ):
                entries = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in found_here]
        except FileNotFoundError:
            return [], []
        directories = sorted(name for name, is_directory in entries if is_directory)
        return directories, sorted(name for name, is_directory in entries if not is_directory)

    def free_bytes(self) -> int | None:
        """Space for files of this user, where the directory is or will be; None where the system does not say."""
        existing = next(folder for folder in (self.location, *self.location.parents) if folder.exists())
        try:
            disk = os.statvfs(existing)
        except OSError:
            return None
        return disk.f_bavail * disk.f_frsize

    @contextlib.contextmanager
    def folder(self, name: str, *, create: bool = False) -> Iterator[tuple[int, str]]:
        """A descriptor of the directory of `name`, and the name in it. Made where `create`, else FileNotFoundError.

        Descriptors, because a path could be bent by a symbolic link between one call and the next.
        """
        *above, last = split_name(name)
        with contextlib.ExitStack() as stack:
            with self.translate_errors(name):
                if create:
                    make_directory(self.location)
                descriptor = os.open(self.location, DIRECTORY)
                stack.callback(os.close, descriptor)
                for part in above:
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
        """Say what the system refused. What exists, or does not, is left to the caller."""
        path = self.path(name)
        try:
            yield
        except (FileNotFoundError, FileExistsError):
            raise
        except OSError as error:
            if error.errno in FULL:
                raise PreconditionFailed(
                    f"{path} could not be written: {os.strerror(error.errno or 0)}.",
                    "Free some space there, or set BACKUP_DIR to another disk.",
                ) from error
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise PreconditionFailed(
                    f"{path} is, or is behind, a symbolic link or something else that is not expected there.",
                    "Backups are not read or written through links. Take it away, or set BACKUP_DIR to where it leads.",
                ) from error
            raise PreconditionFailed(
                f"{path} could not be reached: {os.strerror(error.errno or 0)}.",
                f"{self.location} and what is in it have to belong to the user that runs this.",
            ) from error


def split_name(name: str) -> list[str]:
    parts = name.split("/")
    if len(parts) > 2 or any(part in {"", ".", ".."} or "\\" in part or "\0" in part for part in parts):
        raise SuspiciousFileOperation(f"{name!r} is not a name for a file of the backups.")
    return parts


def make_directory(path: Path | str, *, within: int | None = None) -> None:
    """A directory of mode 0700, where there is nothing yet."""
    if within is None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o700, dir_fd=within)
        if within is not None:
            os.fsync(within)


def restrict_permissions(directory: int) -> None:
    if stat.S_IMODE(os.fstat(directory).st_mode) != 0o700:
        os.fchmod(directory, 0o700)


def found(folder: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def write_all(descriptor: int, block: Any) -> None:
    rest = memoryview(block)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
