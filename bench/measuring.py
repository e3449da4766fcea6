"""Runs programs and reports what they took: wall and CPU seconds, and memory."""

import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.results import Sample
from tests.support.postgres import PostgresServer, children_of

Program = Callable[[], Sample]
"""Runs once."""
ROOT = Path(__file__).resolve().parents[1]
TICKS = os.sysconf("SC_CLK_TCK")


class ProgramFailed(Exception):
    """A measured program ended with an error; its output is the message."""


@dataclass
class Stopwatch:
    """Seconds and CPU seconds of a block, see `stopwatch`."""

    seconds: float = 0
    cpu: float = 0
    parts: dict[str, float] = field(default_factory=dict)

    @property
    def sample(self) -> Sample:
        return Sample(seconds=round(self.seconds, 4), cpu=round(self.cpu, 3), parts=self.parts)


@contextlib.contextmanager
def stopwatch(server: PostgresServer | None) -> Iterator[Stopwatch]:
    """Measure a block: its own CPU seconds, those of the programs that end in it, and those of the server."""
    watch = Stopwatch()
    before, start = own_cpu() + server_cpu(server), time.perf_counter()
    yield watch
    watch.seconds = time.perf_counter() - start
    watch.cpu = own_cpu() + server_cpu(server) - before


def own_cpu() -> float:
    """Of this process, and of its children that have ended."""
    return sum(os.times()[:4])


def server_cpu(server: PostgresServer | None) -> float:
    """Of the server, its backends, and those that have ended. 0 where there is no ``/proc``."""
    if server is None or server.process is None or not Path("/proc/self/stat").exists():
        return 0
    used = ticks_of(server.process.pid, of_ended_children=True)
    for child in children_of(server.process.pid):
        with contextlib.suppress(OSError):  # ended since: counted next time
            used += ticks_of(child)
    return used / TICKS


def ticks_of(pid: int, *, of_ended_children: bool = False) -> int:
    # The fields from the state on; the name before it may hold spaces.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11 : 15 if of_ended_children else 13]))


def measure(
    command: Sequence[str], env: Mapping[str, str], *, server: PostgresServer | None = None
) -> tuple[Sample, str]:
    """Run a program, and return what it took and printed. Raises ProgramFailed with its output if it fails.

    The memory is the peak of the largest of it and its children. Less than that of this program when it started the
    process is not seen: Linux counts that, too.
    """
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        with stopwatch(server) as watch:
            process = subprocess.Popen(command, env=env, cwd=ROOT, stdout=output, stderr=errors)
            megabytes = wait_for(process)
        output.seek(0)
        errors.seek(0)
        text = output.read().decode(errors="replace")
        if process.returncode:
            raise ProgramFailed(f"{command[0]} ended with {process.returncode}:\n{text[-2000:]}{tail(errors.read())}")
    return Sample(seconds=round(watch.seconds, 4), cpu=round(watch.cpu, 3), megabytes=round(megabytes, 1)), text


def tail(text: bytes) -> str:
    return text.decode(errors="replace")[-3000:]


def wait_for(process: "subprocess.Popen[bytes]") -> float:
    """Wait until `process` ends. Returns the peak memory in MB of the largest of it and its children."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_maxrss / 1024
