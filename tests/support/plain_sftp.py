"""An SFTP server that is not OpenSSH's: paramiko's, in threads of the tests. It knows a password and no extensions."""

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import paramiko

USER, PASSWORD = "keeper", "correct horse"


@dataclass
class PlainSftp:
    folder: Path
    key: paramiko.PKey
    listener: socket.socket
    opened: list[paramiko.Transport] = field(default_factory=list)

    def options(self, **changes: Any) -> dict[str, Any]:
        """The keyword arguments of SftpBackupStorage."""
        return {
            "host": "127.0.0.1",
            "port": self.listener.getsockname()[1],
            "user": USER,
            "path": str(self.folder),
            "host_key": f"{self.key.get_name()} {self.key.get_base64()}",
            "password": PASSWORD,
        } | changes

    def serve(self) -> None:
        # The listener is closed when the tests are done.
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                transport = paramiko.Transport(connection)
                transport.set_log_channel("tests.plain_sftp")
                transport.add_server_key(self.key)
                transport.set_subsystem_handler("sftp", paramiko.SFTPServer, Files)
                self.opened.append(transport)
                transport.start_server(event=threading.Event(), server=Account())


class Account(paramiko.ServerInterface):
    def get_allowed_auths(self, username: str) -> str:  # noqa: ARG002  # paramiko's interface
        return "password"

    def check_auth_password(self, username: str, password: str) -> int:
        right = (username, password) == (USER, PASSWORD)
        return paramiko.AUTH_SUCCESSFUL if right else paramiko.AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:  # noqa: ARG002  # paramiko's interface
        return paramiko.OPEN_SUCCEEDED


def answered(call: Callable[..., Any], *arguments: Any) -> Any:
    """What the call returns, or the status for its error."""
    try:
        found = call(*arguments)
    except OSError as error:
        return paramiko.SFTPServer.convert_errno(error.errno)
    return paramiko.SFTP_OK if found is None else found


class Files(paramiko.SFTPServerInterface):
    def open(self, path: str, flags: int, attr: Any) -> Any:
        descriptor = answered(os.open, path, flags, attr.st_mode or 0o600)
        return descriptor if descriptor < 3 else Handle(descriptor)

    def list_folder(self, path: str) -> Any:
        def listed() -> list[paramiko.SFTPAttributes]:
            return [paramiko.SFTPAttributes.from_stat(found.lstat(), found.name) for found in Path(path).iterdir()]

        return answered(listed)

    def lstat(self, path: str) -> Any:
        return answered(lambda: paramiko.SFTPAttributes.from_stat(os.lstat(path)))

    def remove(self, path: str) -> int:
        return int(answered(os.remove, path))

    def rename(self, oldpath: str, newpath: str) -> int:
        return paramiko.SFTP_FAILURE if Path(newpath).exists() else int(answered(os.rename, oldpath, newpath))

    def mkdir(self, path: str, attr: Any) -> int:
        return int(answered(os.mkdir, path, attr.st_mode))


class Handle(paramiko.SFTPHandle):
    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self.descriptor = descriptor

    def read(self, offset: int, length: int) -> Any:
        """Less than it was asked for, which the protocol allows."""
        return answered(os.pread, self.descriptor, min(length, 20_000), offset) or paramiko.SFTP_EOF

    def write(self, offset: int, data: bytes) -> int:
        os.pwrite(self.descriptor, data, offset)
        return paramiko.SFTP_OK

    def close(self) -> None:
        os.close(self.descriptor)


@contextmanager
def plain_sftp_server(folder: Path) -> Iterator[PlainSftp]:
    """A server for the files of `folder`, while the block lasts."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = PlainSftp(folder, paramiko.ECDSAKey.generate(), listener)
        thread = threading.Thread(target=server.serve)
        thread.start()
        try:
            yield server
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for transport in server.opened:
                transport.close()
