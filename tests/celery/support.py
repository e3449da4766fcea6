"""HomeRack's processes, on a SQLite file of their own."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support import forked
from tests.support.postgres import children_of, free_port


def environment(folder: Path, **changes: str) -> dict[str, str]:
    """That of the tests, with a database in `folder` and no Redis, unless `changes` name one."""
    own = {"DATABASE_URL": f"sqlite:///{folder}/homerack.db", "DEBUG": "true", "REDIS_URL": ""}
    return os.environ | own | changes


def manage(folder: Path, *arguments: str, **changes: str) -> "subprocess.CompletedProcess[str]":
    return forked.run(["manage.py", *arguments], env=environment(folder, **changes))


@contextlib.contextmanager
def running(folder: Path, name: str, *command: str, **changes: str) -> Iterator["Running"]:
    """Run ``python …`` during the block, and terminate it after; its output is in the file `name`.log."""
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        process = forked.start(command, env=environment(folder, **changes), stdout=output, stderr=output)
    started = Running(process, log)
    try:
        yield started
    except BaseException:
        print(log.read_text())  # noqa: T201
        raise
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(timeout=40)


@dataclass
class Running:
    process: forked.Process
    log: Path

    @property
    def output(self) -> str:
        return self.log.read_text()

    def descendants(self) -> list[int]:
        """The processes that it has started, directly or indirectly."""
        found = children_of(self.process.pid)
        for pid in found:
            found.extend(children_of(pid))
        return found

    def child(self, name: str) -> int:
        """The child process whose command has the word `name`."""
        return next(pid for pid in children_of(self.process.pid) if name in command_of(pid).split("\0"))

    def end_with(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=40)


@contextlib.contextmanager
def served(folder: Path, **changes: str) -> Iterator[tuple[Running, int]]:
    """``manage.py serve`` on the database in `folder`, once it has printed its address, and its port."""
    port = free_port()
    with running(folder, f"serve-{port}", "manage.py", "serve", "--port", str(port), **changes) as serving:
        wait_for(lambda: "HomeRack is at" in serving.output, serving)
        yield serving, port


def wait_for(condition: Callable[[], object], running: Running, *, within: float = 60) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        assert running.process.poll() is None, "the process has ended"
        time.sleep(0.05)


def command_of(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text()
    return ""


def is_stopped(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    return False


def is_alive(pid: int) -> bool:
    """Whether there is such a process that is no zombie."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False
