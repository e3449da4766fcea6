"""An SFTP server of its own: OpenSSH's sshd on a free port of the loopback interface, run by the tests' user."""

import contextlib
import os
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.postgres import children_of, die_with_parent, free_port

INSTALL = "apt-get install openssh-server"
CONFIGURATION = """
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
PermitRootLogin prohibit-password
MaxStartups 100
Subsystem sftp {subsystem}
"""


def find_sshd() -> str | None:
    """The server's program, which Debian keeps outside the PATH of users."""
    return shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


@dataclass
class Sshd:
    """Files are kept in `files`, which is an absolute path for the clients, too."""

    folder: Path
    port: int
    user: str
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def files(self) -> Path:
        return self.folder / "files"

    @property
    def host_key(self) -> str:
        """The type and the key, as in known_hosts."""
        return " ".join((self.folder / "host_key.pub").read_text().split()[:2])

    @property
    def identity_file(self) -> Path:
        return self.folder / "user_key"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def options(self, **changes: Any) -> dict[str, Any]:
        """The keyword arguments of SftpBackupStorage."""
        return {
            "host": "127.0.0.1",
            "port": self.port,
            "user": self.user,
            "path": str(self.files),
            "host_key": self.host_key,
            "identity_file": str(self.identity_file),
        } | changes

    def empty(self) -> None:
        shutil.rmtree(self.files, ignore_errors=True)
        self.files.mkdir()

    def start(self) -> None:
        """Start the server, on the same port and with the same keys each time, and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(find_sshd()), "-D", "-e", "-f", str(self.folder / "sshd_config")],
                stdout=log,
                stderr=log,
                # With SIGXFSZ ignored, as in Python, so that `limit_files` makes writing fail.
                restore_signals=False,
                preexec_fn=die_with_parent,  # noqa: PLW1509  # one system call; nothing else can tell a child to follow
            )
        deadline = time.monotonic() + 30
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                    assert connection.recv(4) == b"SSH-"
            except OSError:
                assert time.monotonic() < deadline, self.log
                assert self.process.poll() is None, self.log
                time.sleep(0.02)
            else:
                return

    def stop(self) -> None:
        """Kill the server and its connections."""
        if self.process is not None:
            self.signal_all(signal.SIGKILL)
            self.process.wait(timeout=20)
            self.process = None

    def freeze(self) -> None:
        """SIGSTOP to the server and its connections: the port accepts, nobody answers."""
        self.signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        self.signal_all(signal.SIGCONT)

    def limit_files(self, size: int) -> None:
        """Let writing beyond `size` bytes fail in new connections, as on a full disk."""
        assert self.process is not None, "the server is not running"
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    def signal_all(self, number: int) -> None:
        """Signal the listener first, so that it starts no new children."""
        assert self.process is not None, "the server is not running"
        waiting = [self.process.pid]
        while waiting:
            pid = waiting.pop()
            # Those of a killed process would have another parent.
            children = children_of(pid)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
            waiting += children


@contextmanager
def sshd_server(subsystem: str = "internal-sftp") -> Iterator[Sshd]:
    """A server with an empty directory, while the block lasts. `subsystem` may have options of sftp-server."""
    folder = Path(tempfile.mkdtemp(prefix="homerack-sshd-"))
    user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    server = Sshd(folder, free_port(), user)
    server.files.mkdir()
    for name in ("host_key", "user_key"):
        make_key(folder / name)
    shutil.copy(folder / "user_key.pub", folder / "authorized_keys")
    (folder / "sshd_config").write_text(CONFIGURATION.format(port=server.port, folder=folder, subsystem=subsystem))
    if os.geteuid() == 0:
        # Where sshd, as root, locks up the process that speaks to strangers. A service would make it.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


def make_key(path: Path, *, passphrase: str = "") -> str:
    """A new key pair. Returns the public one: its type and the key."""
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", "", "-f", str(path)]
    subprocess.run(command, check=True, capture_output=True)
    return path.with_name(f"{path.name}.pub").read_text().strip()
