"""Processes that live and end together. One thread: what they print is read where their ends are seen."""

import contextlib
import ctypes
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from homerack.serve.services import Service

PR_SET_PDEATHSIG = 1
POLL_INTERVAL = 0.2
"""Seconds between two looks at who is still alive."""
READY_TIMEOUT = 60.0
"""Seconds for a program to become ready."""
STOP_TIMEOUT = 10.0
"""Seconds to end by oneself after SIGTERM; a worker uses them for the task under way."""


class ServiceEnded(Exception):
    """One of the programs is gone, or did not become ready. The message is a sentence about it."""


@dataclass(kw_only=True)
class Process:
    service: Service
    popen: "subprocess.Popen[bytes]"
    unfinished: bytes = b""

    @property
    def output(self) -> int:
        if self.popen.stdout is None:
            raise RuntimeError("The process was started without a pipe.")
        return self.popen.stdout.fileno()

    def signal_group(self, number: int) -> None:
        """To the process and all that it started: each program leads a group of its own."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.popen.pid, number)


@dataclass(kw_only=True)
class Supervisor:
    """Starts programs with `environment` and passes their lines on to `write`, each with the program's name."""

    environment: Mapping[str, str]
    write: Callable[[str, str], None]
    processes: list[Process] = field(default_factory=list)
    selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)

    def start(self, program: Service) -> None:
        """A session of its own keeps the terminal's Ctrl-C from it: ends have an order."""
        popen = subprocess.Popen(
            program.command,
            env=self.environment if program.environment is None else program.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=end_with_parent,  # noqa: PLW1509  # one system call, and this process has no other thread
        )
        process = Process(service=program, popen=popen)
        self.processes.append(process)
        os.set_blocking(process.output, False)
        self.selector.register(process.output, selectors.EVENT_READ, process)

    def wait_until_ready(self, *programs: Service) -> None:
        """Raises ServiceEnded when one of all ends meanwhile, or these are not ready in time."""
        deadline = time.monotonic() + READY_TIMEOUT
        for program in programs:
            while not program.is_ready():
                self.check()
                if time.monotonic() > deadline:
                    raise ServiceEnded(f"{program.name} was not ready after {READY_TIMEOUT:.0f} s.")

    def watch(self) -> None:
        """Pass lines on until one of the programs ends. Raises ServiceEnded then."""
        while True:
            self.check()

    def check(self) -> None:
        self.read(POLL_INTERVAL)
        for process in self.processes:
            if (code := process.popen.poll()) is not None:
                self.read(0)
                raise ServiceEnded(f"{process.service.name} has ended ({exit_reason(code)}).")

    def read(self, seconds: float) -> None:
        """Pass on what has been printed, after waiting for it at most so long."""
        for key, _ in self.selector.select(seconds):
            process: Process = key.data
            printed = os.read(process.output, 1 << 16)
            if not printed:
                self.selector.unregister(process.output)
            *lines, process.unfinished = (process.unfinished + (printed or b"\n")).split(b"\n")
            for line in filter(None, lines):
                self.write(process.service.name, line.decode(errors="replace").rstrip())

    def stop(self) -> None:
        """End all, those started first last, because the others need them. Ctrl-C while waiting ends them at once."""
        try:
            self.end(self.processes[1:])
            self.end(self.processes[:1])
        except KeyboardInterrupt:
            self.write("", "Ended at once.")
        finally:
            for process in self.processes:
                process.signal_group(signal.SIGKILL)
                process.popen.wait()
            self.selector.close()

    def end(self, processes: list[Process]) -> None:
        for process in processes:
            if process.popen.poll() is None:
                process.popen.terminate()
        deadline = time.monotonic() + STOP_TIMEOUT
        while (alive := [each for each in processes if each.popen.poll() is None]) and time.monotonic() < deadline:
            self.read(POLL_INTERVAL)
        for process in alive:
            self.write("", f"{process.service.name} was still at work after {STOP_TIMEOUT:.0f} s and was ended.")
            process.signal_group(signal.SIGKILL)
        self.read(0)


def end_with_parent() -> None:
    """In the child: get SIGTERM when this command is gone without having stopped it, as after SIGKILL."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def exit_reason(code: int) -> str:
    """``exit code 3``, or the name of the signal that ended it."""
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
