"""Programs in Python that are forks of a process in which Django has started: `run` and `start`, as of `subprocess`.

They have files, an environment, a session and settings of their own. What a new interpreter would do before its first
line, and its command line in the list of processes, need `subprocess`.
"""

import atexit
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any

from tests.support.postgres import die_with_parent

ROOT = Path(__file__).resolve().parents[2]
SOCKET = "FORK_SERVER_OF_THE_TESTS"
"""Where the workers of pytest-xdist find the process that all of them fork."""
PATIENCE = 120
"""Seconds that a busy machine may take to start Django, or a program."""


@cache
def server() -> str:
    """The path of the socket of the process that is forked: the run's, or this process's own."""
    path = Path(os.environ.get(SOCKET) or launch())
    deadline = time.monotonic() + PATIENCE
    while not path.exists():
        assert time.monotonic() < deadline, "Django does not start"
        time.sleep(0.02)
    return str(path)


def launch() -> str:
    """Begin to start that process, which ends with this one; return the path of its socket to be."""
    path = Path(tempfile.mkdtemp(prefix="homerack-fork-server-"), "socket")
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.fork_server", path],
        cwd=ROOT,
        env=os.environ | {"DATABASE_URL": "sqlite://:memory:", "DJANGO_SETTINGS_MODULE": "tests.settings"},
        preexec_fn=die_with_parent,  # noqa: PLW1509  # one system call; nothing else can tell a child to follow
    )
    atexit.register(stop, process, path)
    return str(path)


def stop(process: "subprocess.Popen[bytes]", path: Path) -> None:
    process.kill()
    process.wait()
    shutil.rmtree(path.parent)


class Process:
    """A program under way, with the part of the interface of `subprocess.Popen` that tests use."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        files: Sequence[int],
        env: dict[str, str] | None = None,
        cwd: Path = ROOT,
        stop_at: str = "",
        statements: str = "",
        largest_file: int = 0,
        umask: int | None = None,
        constants: dict[str, Any] | None = None,
    ) -> None:
        """`constants` of modules, by their full names, have other values in the program."""
        request = {
            "arguments": [str(argument) for argument in arguments],
            "environment": dict(os.environ) if env is None else env,
            "directory": str(cwd),
            "stop_at": stop_at,
            "statements": statements,
            "largest_file": largest_file,
            "umask": umask,
            "constants": constants or {},
        }
        self.returncode: int | None = None
        self.stdin: IO[str] | None = None
        self.stdout: IO[str] | None = None
        self.stderr: IO[str] | None = None
        self._answer = b""
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.settimeout(PATIENCE)
        self._connection.connect(server())
        socket.send_fds(self._connection, [json.dumps(request).encode()], files)
        self.pid = int(self._line())

    def _line(self) -> str:
        while not self._answer.endswith(b"\n"):
            piece = self._connection.recv(1)
            assert piece, "the process that is forked has ended"
            self._answer += piece
        line, self._answer = self._answer, b""
        return line.decode()

    def wait(self, timeout: float | None = None) -> int:
        """The exit code. Raises TimeoutExpired."""
        if self.returncode is None:
            self._connection.settimeout(timeout)
            try:
                self.returncode = int(self._line())
            except (BlockingIOError, TimeoutError):
                raise subprocess.TimeoutExpired("python", timeout or 0) from None
            self._connection.close()
        return self.returncode

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def communicate(self, text: str = "", timeout: float | None = None) -> tuple[str, str]:
        """Write `text`, read all output and wait. Raises TimeoutExpired."""
        read: dict[str, str] = {}

        def drain(name: str, file: IO[str]) -> None:
            with file:
                read[name] = file.read()

        pipes = {name: file for name in ("stdout", "stderr") if (file := getattr(self, name)) and not file.closed}
        readers = [threading.Thread(target=drain, args=item, daemon=True) for item in pipes.items()]
        for reader in readers:
            reader.start()
        if self.stdin and not self.stdin.closed:
            with contextlib.suppress(BrokenPipeError), self.stdin:
                self.stdin.write(text)
        self.wait(timeout)
        for reader in readers:
            reader.join()
        return read.get("stdout", ""), read.get("stderr", "")


def start(
    arguments: Sequence[str], *, stdin: Any = None, stdout: Any = None, stderr: Any = None, **how: Any
) -> Process:
    """``python *arguments``, which are those of ``-c``, ``-m`` or ``manage.py``.

    The files are None (the test's own), PIPE, DEVNULL, STDOUT, a number or a file; `how` as in `Process`.
    """
    with contextlib.ExitStack() as stack:
        own: dict[str, IO[str]] = {}
        files: list[int] = []
        for number, (name, file) in enumerate({"stdin": stdin, "stdout": stdout, "stderr": stderr}.items()):
            if file == subprocess.PIPE:
                reading, writing = os.pipe()
                theirs, ours, mode = (reading, writing, "w") if name == "stdin" else (writing, reading, "r")
                files.append(theirs)
                stack.callback(os.close, theirs)
                own[name] = os.fdopen(ours, mode)
            elif file == subprocess.STDOUT:
                files.append(files[1])
            elif file == subprocess.DEVNULL:
                files.append(stack.enter_context(Path(os.devnull).open("r+b")).fileno())
            elif file is None:
                files.append(number)
            else:
                files.append(file if isinstance(file, int) else file.fileno())
        process = Process(arguments, files=files, **how)
    for name, pipe in own.items():
        setattr(process, name, pipe)
    return process


def run(
    arguments: Sequence[str], *, timeout: float = PATIENCE, check: bool = False, **how: Any
) -> "subprocess.CompletedProcess[str]":
    """``python *arguments`` to its end, whose output is captured; `how` as in `Process`. Raises CalledProcessError."""
    process = start(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **how)
    out, error = process.communicate(timeout=timeout)
    done = subprocess.CompletedProcess(list(arguments), process.wait(), out, error)
    if check:
        done.check_returncode()
    return done
