"""Backups on an SFTP server. Only the setting of a storage location names this module."""

import contextlib
import datetime as dt
import io
import os
import posixpath
import stat
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import paramiko
from django.core.files.base import File
from django.core.files.storage import Storage

from ops.backups.storage.entries import SILENCE, Entry, setting
from ops.backups.storage.local import PARTIAL, split_name
from ops.backups.storage.sftp_session import Download, Refused, Session
from ops.backups.storage.ssh import HostKey, UnreadableKey, WrongHostKey, connect, host_keys
from ops.errors import PreconditionFailed
from ops.utils.printable import printable
from ops.utils.streams import BLOCK_SIZE

SFTP_PORT = 22
OPENED: "weakref.WeakSet[SftpBackupStorage]" = weakref.WeakSet()


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
        """`name` is that of the storage location, for messages; with `identity_file`, `password` is its passphrase."""
        self.host, self.port, self.user, self.root = host, port, user, path
        self.host_key, self.identity_file, self.password, self.name = host_key, identity_file, password, name
        self.lock = threading.RLock()
        self.current: Session | None = None
        OPENED.add(self)

    @property
    def display_location(self) -> str:
        port = "" if self.port == SFTP_PORT else f":{self.port}"
        return f"sftp://{self.user}@{self.host}{port}/{self.root.lstrip('/')}"

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
        with self.session(name) as session:
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
        with contextlib.suppress(FileNotFoundError), self.session(name) as session:
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
        with self.session() as session:
            while not exists(session, path):
                path = posixpath.dirname(path) or "."
            return session.free_bytes(path)

    def locked_until(self, name: str) -> dt.datetime | None:  # noqa: ARG002  # as in other storages
        """None: its owner can delete a file at any time."""
        return None

    def close(self) -> None:
        """End the connection. The next request opens another one."""
        with self.lock:
            if self.current is not None:
                self.current.transport.close()
                self.current = None

    # --- Files --------------------------------------------------------------------------------------------------

    def status(self, name: str) -> Any:
        path = self.path(name)
        with self.session(name) as session:
            return session.lstat(path)

    def listing(self, folder: str) -> list[Any]:
        path = self.folder_path(folder)
        with contextlib.suppress(FileNotFoundError), self.session(folder) as session:
            return list(session.listdir_attr(path))
        return []

    def write(self, name: str, content: "File[bytes]", *, overwrite: bool) -> None:
        """Errors of the content are passed on. After any error, nothing of it is left where the server answers."""
        path = self.path(name)
        with self.session(name) as session:
            if not overwrite and exists(session, path):
                raise PreconditionFailed(f"{self.display_location}/{name} exists already.", "Nothing was changed.")
            make_directory(session, posixpath.dirname(path))
            with contextlib.suppress(FileNotFoundError):
                session.remove(path + PARTIAL)
            upload = session.upload(path + PARTIAL)
        try:
            for block in content.chunks():
                with self.guard(name):
                    upload.write(block)
            with self.guard(name):
                upload.finish()
                publish(session, path, upload.size, overwrite=overwrite)
        except BaseException:
            if session is self.current:
                with contextlib.suppress(PreconditionFailed, FileNotFoundError), self.guard(name):
                    session.remove(path + PARTIAL)
            raise

    # --- The connection -----------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def session(self, name: str = "") -> Iterator[Session]:
        """The connection, for this thread alone."""
        with self.guard(name):
            if self.current is None or not self.current.transport.is_active():
                self.current = None
                self.current = self.connect()
                weakref.finalize(self, self.current.transport.close)
            yield self.current

    @contextlib.contextmanager
    def guard(self, name: str) -> Iterator[None]:
        """Turn errors of the server into PreconditionFailed. FileNotFoundError is passed on.

        After an error of the connection, the next request opens another one.
        """
        with self.lock:
            try:
                yield
            except FileNotFoundError as error:
                raise FileNotFoundError(f"{self.display_location}/{name}") from error
            except Refused as error:
                raise PreconditionFailed(
                    f"{self.display_location}/{name}: the server refused a request: {self.printable(error)}.",
                    f"Check that {self.user} may write there, and that the disk is not full.",
                ) from error
            except (OSError, EOFError, paramiko.SSHException, paramiko.SFTPError) as error:
                self.close()
                raise PreconditionFailed(
                    f"{self.display_location} is unreachable ({name or 'its list'}): {self.reason(error)}.",
                    f"Check that its server runs: {self.command('sftp', '-P')}",
                ) from error

    def connect(self) -> Session:
        try:
            return connect(
                self.host,
                self.port,
                self.user,
                trusted=self.trusted(),
                identity_file=self.identity_file,
                password=self.password,
            )
        except WrongHostKey as error:
            expected = ", ".join(key.fingerprint for key in self.trusted())
            raise PreconditionFailed(
                f"{self.display_location} was refused. Its host key is {error.found.fingerprint}, "
                f"and {setting(self.name, 'HOST_KEY')} is {expected}.",
                "If the server was installed again, set its new key. If not, another machine answers in its place.",
            ) from error
        except UnreadableKey as error:
            raise PreconditionFailed(
                f"{self.display_location}: the private key {error} cannot be read.",
                f"Check {setting(self.name, 'IDENTITY_FILE')}, the file's owner, and its passphrase "
                f"({setting(self.name, 'PASSWORD')}).",
            ) from error
        except paramiko.AuthenticationException as error:
            raise PreconditionFailed(
                f"{self.display_location} did not let {self.user} in: {self.printable(error)}.",
                f"Set {setting(self.name, 'IDENTITY_FILE')} (its public half belongs into ~/.ssh/authorized_keys "
                f"there) or {setting(self.name, 'PASSWORD')}.",
            ) from error

    def trusted(self) -> list[HostKey]:
        """The keys that the server may have. Raises PreconditionFailed where there are none."""
        name = setting(self.name, "HOST_KEY")
        scan = f"Compare what this shows with the server's own: {self.command('ssh-keyscan', '-p', user='')}"
        try:
            keys = host_keys(self.host_key)
        except ValueError as error:
            raise PreconditionFailed(f"{name}: {error}", f"{scan}, then set {name} to a line of it.") from error
        if not keys:
            raise PreconditionFailed(
                f"{self.display_location} was not contacted, because its host key is not known.",
                f"{scan}, then set {name} to a line of it.",
            )
        return keys

    def command(self, program: str, port_option: str, *, user: str | None = None) -> str:
        """A command for people to type."""
        port = "" if self.port == SFTP_PORT else f" {port_option} {self.port}"
        account = f"{self.user}@" if user is None else ""
        return f"{program}{port} {account}{self.host}"

    def reason(self, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            return f"no answer for {SILENCE} seconds"
        if isinstance(error, OSError) and error.errno:
            return os.strerror(error.errno) if error.errno > 0 else self.printable(error)
        return self.printable(error) or "the connection was closed"

    def printable(self, error: Exception) -> str:
        text = str(error).rstrip(".")
        return printable(text.replace(self.password, "…") if self.password else text)


class Stream(io.RawIOBase):
    """A file that is downloaded while it is read, once and from front to back."""

    def __init__(self, storage: SftpBackupStorage, name: str, download: Download) -> None:
        self.storage, self.file_name, self.download = storage, name, download
        self.rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # typeshed's WriteableBuffer is private
        if not self.rest:
            with self.storage.guard(self.file_name):
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
    if not overwrite:
        # It refuses an existing name, as `posix_rename` does not.
        session.rename(path + PARTIAL, path)
        return
    try:
        session.posix_rename(path + PARTIAL, path)
    except Refused as error:
        if not error.unsupported:
            raise
        with contextlib.suppress(FileNotFoundError):
            session.remove(path)
        session.rename(path + PARTIAL, path)


def make_directory(session: Session, path: str) -> None:
    """Create a directory of mode 0700, and its parents, unless they exist."""
    if path in {"", "/"} or exists(session, path):
        return
    make_directory(session, posixpath.dirname(path))
    session.mkdir(path, 0o700)


def forget_connections() -> None:
    """In a forked child: leave the connections to the parent."""
    for storage in OPENED:
        storage.lock = threading.RLock()
        if storage.current is not None:
            storage.current.transport.atfork()
            storage.current = None


os.register_at_fork(after_in_child=forget_connections)
