"""Starts services, passes on their output, and starts those again that end. It uses a single thread."""

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
"""Seconds between two checks whether all services are running."""
READY_TIMEOUT = 60.0
"""Seconds until a service must be ready."""
STOP_TIMEOUT = 10.0
"""Seconds between SIGTERM and SIGKILL; a worker uses them to finish its task."""
RESTART_DELAY, LONGEST_DELAY = 5.0, 60.0
"""Seconds between the end of a service and its next start. They double each time, unless it ran for `STEADY`."""
STEADY = 120.0
"""Seconds."""
FIRST_START = 15.0
"""Seconds. A service that exits with an error so soon after the first start will not do better: its settings are wrong,
or its port is in use."""


class ServiceEnded(Exception):
    """A service ended at its first start, or was not ready in time. The message is a complete sentence."""


@dataclass(kw_only=True)
class Process:
    service: Service
    popen: "subprocess.Popen[bytes]"
    started: float = field(default_factory=time.monotonic)
    is_first: bool = True
    delay: float = 0.0
    restart_at: float | None = None
    """When it starts again, after it has ended."""
    unfinished: bytes = b""

    @property
    def output(self) -> int:
        if self.popen.stdout is None:
            raise RuntimeError("The process was started without a pipe.")
        return self.popen.stdout.fileno()

    def signal_group(self, number: int) -> None:
        """Signal the process and its children: each service leads its own process group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.popen.pid, number)


@dataclass(kw_only=True)
class Supervisor:
    """Starts services with `environment` and passes their output to `write`, by line, with the service's name."""

    environment: Mapping[str, str]
    write: Callable[[str, str], None]
    processes: list[Process] = field(default_factory=list)
    selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)

    def start(self, service: Service) -> None:
        process = Process(service=service, popen=self.spawn(service))
        self.processes.append(process)
        self.listen(process)

    def spawn(self, service: Service) -> "subprocess.Popen[bytes]":
        """Start in a new session, which the terminal's Ctrl-C does not reach: services are stopped in order."""
        return subprocess.Popen(
            service.command,
            env=self.environment if service.environment is None else service.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=end_with_parent,  # noqa: PLW1509  # one system call; this process has a single thread
        )

    def listen(self, process: Process) -> None:
        os.set_blocking(process.output, False)
        self.selector.register(process.output, selectors.EVENT_READ, process)

    def wait_until_ready(self, *services: Service) -> None:
        """Wait for `services`. Raises ServiceEnded if any service ends meanwhile, or these are not ready in time."""
        deadline = time.monotonic() + READY_TIMEOUT
        for service in services:
            while not service.is_ready():
                self.check()
                if time.monotonic() > deadline:
                    raise ServiceEnded(f"{service.name} was not ready after {READY_TIMEOUT:.0f} s.")

    def watch(self) -> None:
        """Pass on output, and start services again that have ended, until a KeyboardInterrupt.

        Raises ServiceEnded for one that exits with an error right after its first start.
        """
        while True:
            self.read(POLL_INTERVAL)
            for process in self.processes:
                self.keep_running(process)

    def keep_running(self, process: Process) -> None:
        if process.restart_at is None:
            if (code := process.popen.poll()) is not None:
                self.plan_restart(process, code)
        elif time.monotonic() >= process.restart_at:
            self.restart(process)

    def plan_restart(self, process: Process, code: int) -> None:
        # Its children are of no use without it; a run in one of them is closed by the next worker.
        process.signal_group(signal.SIGKILL)
        self.read(0)
        name, reason = process.service.name, exit_reason(code)
        seconds = time.monotonic() - process.started
        if code > 0 and process.is_first and seconds < FIRST_START:
            raise ServiceEnded(f"{name} has ended ({reason}).")
        self.postpone(process, f"{name} has ended ({reason})", is_steady=seconds > STEADY)

    def postpone(self, process: Process, reason: str, *, is_steady: bool) -> None:
        longer = min(2 * process.delay, LONGEST_DELAY)
        process.delay = RESTART_DELAY if is_steady else max(longer, RESTART_DELAY)
        process.restart_at = time.monotonic() + process.delay
        self.write("", f"{reason}; it starts again in {process.delay:.0f} s.")

    def restart(self, process: Process) -> None:
        self.close(process)
        try:
            process.popen = self.spawn(process.service)
        except OSError as error:  # no memory, or too many processes
            self.postpone(process, f"{process.service.name} could not be started ({error})", is_steady=False)
            return
        process.started, process.is_first, process.restart_at = time.monotonic(), False, None
        self.listen(process)
        self.write("", f"{process.service.name} was started again.")

    def close(self, process: Process) -> None:
        """Close the pipe of a process that has ended."""
        stdout = process.popen.stdout
        if stdout and not stdout.closed:
            with contextlib.suppress(KeyError):
                self.selector.unregister(stdout.fileno())
            stdout.close()

    def check(self) -> None:
        """Raises ServiceEnded if a service has ended."""
        self.read(POLL_INTERVAL)
        for process in self.processes:
            if (code := process.popen.poll()) is not None:
                self.read(0)
                raise ServiceEnded(f"{process.service.name} has ended ({exit_reason(code)}).")

    def read(self, seconds: float) -> None:
        """Pass on what has been printed, after waiting at most `seconds` for it."""
        for key, _ in self.selector.select(seconds):
            process: Process = key.data
            printed = os.read(process.output, 1 << 16)
            if not printed:
                self.selector.unregister(process.output)
            *lines, process.unfinished = (process.unfinished + (printed or b"\n")).split(b"\n")
            for line in filter(None, lines):
                self.write(process.service.name, line.decode(errors="replace").rstrip())

    def stop(self) -> None:
        """Stop all, the first one last, because the others need it. Ctrl-C while waiting kills them immediately."""
        try:
            self.end(self.processes[1:])
            self.end(self.processes[:1])
        except KeyboardInterrupt:
            self.write("", "Stopped immediately.")
        finally:
            self.selector.close()
            for process in self.processes:
                # Waits for its end, and closes its pipe.
                with process.popen:
                    process.signal_group(signal.SIGKILL)

    def end(self, processes: list[Process]) -> None:
        for process in processes:
            if process.popen.poll() is None:
                process.popen.terminate()
        deadline = time.monotonic() + STOP_TIMEOUT
        while (alive := [each for each in processes if each.popen.poll() is None]) and time.monotonic() < deadline:
            self.read(POLL_INTERVAL)
        for process in alive:
            self.write("", f"{process.service.name} did not stop within {STOP_TIMEOUT:.0f} s and was killed.")
            process.signal_group(signal.SIGKILL)
        self.read(0)


def end_with_parent() -> None:
    """In the child: receive SIGTERM when this command ends without stopping it, as after SIGKILL."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def exit_reason(code: int) -> str:
    """``exit code 3``, or the name of the signal that ended it."""
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
