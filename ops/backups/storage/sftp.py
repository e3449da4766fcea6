"""Backups on an SFTP server. Only the setting of a storage location names this module."""

import contextlib
import datetime as dt
import io
import posixpath
import stat
from typing import Any

from django.core.files.base import File
from django.core.files.storage import Storage

from ops.backups.storage.entries import Entry
from ops.backups.storage.local import PARTIAL, split_name
from ops.backups.storage.sftp_server import SFTP_PORT, SftpServer
from ops.backups.storage.sftp_session import Download, Refused, Session
from ops.errors import PreconditionFailed
from ops.utils.streams import BLOCK_SIZE


class SftpBackupStorage(Storage):
    """Files of mode 0600 below `path` on a server that shows `host_key`.

    As in PrivateFileSystemStorage, a file is written under a partial name and renamed, `save` never overwrites, and
    `replace` does. A partial file that a lost connection left is overwritten by the next attempt. Each object has one
    connection, which threads use in turns and which is opened again after it broke.
    """

    def __init__(
        self,
        *,
        host: str,
        user: str,
        path: str,
        port: int = SFTP_PORT,
        host_key: str = "",
        identity_file: str = "",
        password: str = "",
        name: str = "",
    ) -> None:
        """`name` is that of the storage location, for messages. With `identity_file`, `password` is its passphrase."""
        self.root = path
        self.server = SftpServer(
            name=name,
            host=host,
            port=port,
            user=user,
            path=path,
            host_key=host_key,
            identity_file=identity_file,
            password=password,
        )

    @property
    def display_location(self) -> str:
        return self.server.url

    def path(self, name: str) -> str:
        return posixpath.join(self.root, *split_name(name))

    def folder_path(self, folder: str) -> str:
        return self.path(folder) if folder not in {"", "."} else self.root or "."

    # --- Django's interface -------------------------------------------------------------------------------------

    def get_available_name(self, name: str, max_length: int | None = None) -> str:  # noqa: ARG002  # Django's interface
        """The name itself: an existing file is an error."""
        return name

    def _save(self, name: str, content: "File[bytes]") -> str:
        self.write(name, content, overwrite=False)
        return name

    def _open(self, name: str, mode: str = "rb") -> "File[bytes]":
        if mode != "rb":
            raise ValueError(f"Backups are read with mode 'rb', not {mode!r}.")
        path = self.path(name)
        with self.server.session(name) as session:
            return File(io.BufferedReader(Stream(self, name, session.download(path)), BLOCK_SIZE), name)

    def exists(self, name: str) -> bool:
        try:
            self.status(name)
        except FileNotFoundError:
            return False
        return True

    def size(self, name: str) -> int:
        return int(self.status(name).st_size)

    def delete(self, name: str) -> None:
        path = self.path(name)
        with contextlib.suppress(FileNotFoundError), self.server.session(name) as session:
            session.remove(path)

    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        """Names of directories and of other entries; both empty where there is no such directory."""
        listed = self.listing(path)
        folders = sorted(found.filename for found in listed if stat.S_ISDIR(found.st_mode))
        return folders, sorted(found.filename for found in listed if not stat.S_ISDIR(found.st_mode))

    # --- What storage locations have besides --------------------------------------------------------------------

    def replace(self, name: str, content: "File[bytes]") -> None:
        """As `save`, but overwrites. Readers see the old or the new content.

        Between the two there is none for a moment where the server does not know ``posix-rename@openssh.com``.
        """
        self.write(name, content, overwrite=True)

    def entries(self, folder: str = "") -> dict[str, Entry]:
        """The files in `folder`, by name; none where there is no such directory."""
        return {
            found.filename: Entry(found.st_size, dt.datetime.fromtimestamp(found.st_mtime, dt.UTC))
            for found in self.listing(folder)
            if stat.S_ISREG(found.st_mode)
        }

    def free_bytes(self) -> int | None:
        """Space for this user where the directory is or will be created; None where the server does not tell."""
        path = self.root or "."
        with self.server.session("") as session:
            while not exists(session, path):
                path = posixpath.dirname(path) or "."
            return session.free_bytes(path)

    def locked_until(self, name: str) -> dt.datetime | None:  # noqa: ARG002  # as in other storages
        """None: its owner can delete a file at any time."""
        return None

    def close(self) -> None:
        """End the connection. The next request opens another one."""
        self.server.close()

    # --- Files --------------------------------------------------------------------------------------------------

    def status(self, name: str) -> Any:
        path = self.path(name)
        with self.server.session(name) as session:
            return session.lstat(path)

    def listing(self, folder: str) -> list[Any]:
        path = self.folder_path(folder)
        with contextlib.suppress(FileNotFoundError), self.server.session(folder) as session:
            return list(session.listdir_attr(path))
        return []

    def write(self, name: str, content: "File[bytes]", *, overwrite: bool) -> None:
        """Errors of the content are passed on. After any error, nothing of it is left where the server answers."""
        path = self.path(name)
        with self.server.session(name, writing=True) as session:
            if not overwrite and exists(session, path):
                raise PreconditionFailed(f"{self.display_location}/{name} exists already.", "Nothing was changed.")
            make_directory(session, posixpath.dirname(path))
            with contextlib.suppress(FileNotFoundError):
                session.remove(path + PARTIAL)
            upload = session.upload(path + PARTIAL)
        try:
            for block in content.chunks():
                with self.server.errors_of(session, name, writing=True):
                    upload.write(block)
            with self.server.errors_of(session, name, writing=True):
                upload.finish()
                publish(session, path, upload.size, overwrite=overwrite)
        except BaseException:
            if session.transport.is_active():
                with contextlib.suppress(PreconditionFailed), self.server.errors_of(session, name, writing=True):
                    session.remove(path + PARTIAL)
            raise


class Stream(io.RawIOBase):
    """A file that is downloaded while it is read, once and from front to back."""

    def __init__(self, storage: SftpBackupStorage, name: str, download: Download) -> None:
        self.storage, self.file_name, self.download = storage, name, download
        self.rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # typeshed's WriteableBuffer is private
        if not self.rest:
            with self.storage.server.errors_of(self.download.session, self.file_name):
                self.rest = memoryview(self.download.read())
        size = min(len(buffer), len(self.rest))
        buffer[:size] = self.rest[:size]
        self.rest = self.rest[size:]
        return size

    def close(self) -> None:
        if not self.closed:
            self.download.session.unused.append(self.download.handle)
        super().close()


def exists(session: Session, path: str) -> bool:
    try:
        session.lstat(path)
    except FileNotFoundError:
        return False
    return True


def publish(session: Session, path: str, size: int, *, overwrite: bool) -> None:
    """Rename the finished partial file."""
    if session.lstat(path + PARTIAL).st_size != size:
        raise Refused("another process has written the same file")
    if overwrite and "posix-rename@openssh.com" in session.extensions:
        session.posix_rename(path + PARTIAL, path)
        return
    if overwrite:
        with contextlib.suppress(FileNotFoundError):
            session.remove(path)
    # It refuses an existing name, as `posix_rename` does not.
    session.rename(path + PARTIAL, path)


def make_directory(session: Session, path: str) -> None:
    """Create a directory of mode 0700, and its parents, unless they exist."""
    if path in {"", "/"} or exists(session, path):
        return
    make_directory(session, posixpath.dirname(path))
    session.mkdir(path, 0o700)
