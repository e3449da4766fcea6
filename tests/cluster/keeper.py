"""Starts the programs of a cluster, and ends them all when the process that wants the cluster ends, even if killed.

    python -m tests.cluster.keeper FOLDER

Each line of standard input is a program as JSON: ``arguments``, ``user`` (or null) and ``log``. The response is the id
of its process. At the end of the input, everything that descends from these programs is ended, and FOLDER removed.
"""

import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.support.postgres import children_of

PR_SET_CHILD_SUBREAPER = 36
SECONDS_FOR_SHUTDOWN = 5


def main(folder: str) -> None:
    # Patroni starts PostgreSQL as a daemon, whose parent this process becomes.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGCHLD, lambda *_: reap())
    started: list[int] = []
    for line in sys.stdin:
        pid = start(**json.loads(line))
        started.append(pid)
        print(pid, flush=True)  # noqa: T201  # the response
    end_all(started)
    shutil.rmtree(folder, ignore_errors=True)


def start(*, arguments: list[str], user: str | None, log: str) -> int:
    with Path(log).open("ab") as output:
        return subprocess.Popen(
            arguments,
            user=user,
            extra_groups=[] if user else None,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        ).pid


def reap() -> None:
    """Take the exit codes of ended children: a process that is waited for would look as if it ran."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def descendants() -> list[int]:
    found = children_of(os.getpid())
    for pid in found:
        found.extend(children_of(pid))
    return found


def end_all(started: list[int]) -> None:
    """First what would start PostgreSQL again, then PostgreSQL, which removes its shared memory in a shutdown."""
    running = descendants()
    send(signal.SIGKILL, [pid for pid in running if pid in started])
    send(signal.SIGQUIT, [pid for pid in running if pid not in started])
    send(signal.SIGCONT, running)
    deadline = time.monotonic() + SECONDS_FOR_SHUTDOWN
    while (left := descendants()) and time.monotonic() < deadline + SECONDS_FOR_SHUTDOWN:
        if time.monotonic() > deadline:
            send(signal.SIGKILL, left)
        time.sleep(0.05)
        reap()


def send(number: signal.Signals, pids: list[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


if __name__ == "__main__":
    main(sys.argv[1])
