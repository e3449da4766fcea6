"""An SFTP server as one account uses it: the connection, which is opened again after it broke, and its errors."""

import contextlib
import os
import threading
import weakref
from collections.abc import Iterator

import paramiko

from ops.backups.storage.entries import SILENCE, setting
from ops.backups.storage.sftp_session import Refused, Session
from ops.backups.storage.ssh import HostKey, UnreadableKey, WrongHostKey, connect, host_keys
from ops.errors import PreconditionFailed
from ops.utils.printable import printable

SFTP_PORT = 22
SERVERS: "weakref.WeakSet[SftpServer]" = weakref.WeakSet()


class SftpServer:
    """One connection, which threads use in turns."""

    def __init__(
        self,
        *,
        name: str,
        host: str,
        port: int,
        user: str,
        path: str,
        host_key: str,
        identity_file: str,
        password: str,
    ) -> None:
        """`name` is that of the storage location; `name` and `path` are for messages."""
        self.name, self.host, self.port, self.user = name, host, port, user
        self.host_key, self.identity_file, self.password = host_key, identity_file, password
        self.lock = threading.RLock()
        self.current: Session | None = None
        written_port = "" if port == SFTP_PORT else f":{port}"
        self.url = f"sftp://{user}@{host}{written_port}/{path.lstrip('/')}"
        SERVERS.add(self)

    @contextlib.contextmanager
    def session(self, name: str, *, writing: bool = False) -> Iterator[Session]:
        """The connection, for this thread alone, for requests about the file or folder `name`."""
        with self.lock:
            if self.current is None or not self.current.transport.is_active():
                self.current = self.connected(name)
                weakref.finalize(self, self.current.transport.close)
            with self.errors_of(self.current, name, writing=writing):
                yield self.current

    @contextlib.contextmanager
    def errors_of(self, session: Session, name: str, *, writing: bool = False) -> Iterator[None]:
        """Turn its errors into PreconditionFailed, and close it after one of the connection.

        FileNotFoundError is passed on, unless something is written: then it is no answer to the caller's question.
        """
        with self.lock:
            try:
                yield
            except (Refused, FileNotFoundError) as error:
                if isinstance(error, FileNotFoundError) and not writing:
                    raise FileNotFoundError(f"{self.url}/{name}") from error
                raise PreconditionFailed(
                    f"{self.url}/{name}: the server refused a request: {self.printable(error)}.",
                    f"Check that {self.user} may write there, and that the disk is not full.",
                ) from error
            except (OSError, EOFError, paramiko.SSHException, paramiko.SFTPError) as error:
                session.transport.close()
                raise self.unreachable(name, error) from error

    def connected(self, name: str) -> Session:
        trusted = self.trusted()
        account = {"identity_file": self.identity_file, "password": self.password}
        try:
            return connect(self.host, self.port, self.user, trusted=trusted, **account)
        except WrongHostKey as error:
            expected = ", ".join(key.fingerprint for key in trusted)
            raise PreconditionFailed(
                f"{self.url} was refused. Its host key is {error.found.fingerprint}, "
                f"and {setting(self.name, 'HOST_KEY')} is {expected}.",
                "If the server was installed again, set its new key. If not, another machine answers in its place.",
            ) from error
        except UnreadableKey as error:
            raise PreconditionFailed(
                f"{self.url}: the private key {error} cannot be read.",
                f"Check {setting(self.name, 'IDENTITY_FILE')}, the file's owner, and its passphrase "
                f"({setting(self.name, 'PASSWORD')}).",
            ) from error
        except paramiko.AuthenticationException as error:
            raise PreconditionFailed(
                f"{self.url} did not let {self.user} in: {self.printable(error)}.",
                f"Set {setting(self.name, 'IDENTITY_FILE')} (its public half belongs into ~/.ssh/authorized_keys "
                f"there) or {setting(self.name, 'PASSWORD')}.",
            ) from error
        except (OSError, EOFError, paramiko.SSHException, paramiko.SFTPError) as error:
            raise self.unreachable(name, error) from error

    def trusted(self) -> list[HostKey]:
        """The keys that the server may have. Raises PreconditionFailed where there are none."""
        name = setting(self.name, "HOST_KEY")
        scan = f"Compare what this shows with the server's own: {self.command('ssh-keyscan', '-p', self.host)}"
        try:
            keys = host_keys(self.host_key)
        except ValueError as error:
            raise PreconditionFailed(f"{name}: {error}", f"{scan}, then set {name} to a line of it.") from error
        if not keys:
            raise PreconditionFailed(
                f"{self.url} was not contacted, because its host key is not known.",
                f"{scan}, then set {name} to a line of it.",
            )
        return keys

    def unreachable(self, name: str, error: Exception) -> PreconditionFailed:
        reason = f"no answer for {SILENCE} seconds" if isinstance(error, TimeoutError) else self.printable(error)
        return PreconditionFailed(
            f"{self.url} is unreachable ({name or 'its list'}): {reason or 'the connection was closed'}.",
            f"Check that its server runs: {self.command('sftp', '-P', f'{self.user}@{self.host}')}",
        )

    def command(self, program: str, port_option: str, target: str) -> str:
        """For people to type."""
        return f"{program} {target}" if self.port == SFTP_PORT else f"{program} {port_option} {self.port} {target}"

    def printable(self, error: Exception) -> str:
        text = str(getattr(error, "strerror", None) or error).rstrip(".")
        return printable(text.replace(self.password, "…") if self.password else text)

    def close(self) -> None:
        """End the connection. The next request opens another one."""
        with self.lock:
            if self.current is not None:
                self.current.transport.close()
                self.current = None


def forget_connections() -> None:
    """In a forked child: leave the connections to the parent."""
    for server in SERVERS:
        server.lock = threading.RLock()
        if server.current is not None:
            server.current.transport.atfork()
            server.current = None


os.register_at_fork(after_in_child=forget_connections)


def offered_host_key(host: str, port: int) -> HostKey:
    """The key that the server shows. Whether it is the right one, only a person can tell. Raises PreconditionFailed."""
    try:
        connect(host, port, "", trusted=[], identity_file="", password="")
    except WrongHostKey as error:
        return error.found
    except (OSError, EOFError, paramiko.SSHException) as error:
        raise PreconditionFailed(
            f"{host}:{port} is unreachable: {printable(str(error)) or type(error).__name__}.",
            "Check the address and the network. Nothing was changed.",
        ) from error
    raise PreconditionFailed(f"{host}:{port} showed no host key.", "Nothing was changed.")
