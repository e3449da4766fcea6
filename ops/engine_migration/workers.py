"""Runs one function over many items in a few processes.

Threads are slower: SQLite takes a global lock for each memory allocation, so that two threads in one process read
slower than one. The processes are forked, so that `work` and the items need not be pickled.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

from ops.databases.postgres import silence
from ops.errors import OpsError
from ops.utils.progress import Progress, ProgressCallback

Item = TypeVar("Item")
Result = TypeVar("Result")
MOST_PROCESSES = 4
PARTS_PER_TABLE = 8
"""Small enough parts that all processes end at about the same time."""
ROWS_WORTH_IT = 20_000
"""With fewer, one process is done before others have started."""


def split(items: Sequence[Item], parts: int) -> list[Sequence[Item]]:
    """`items` in at most `parts` consecutive slices of about the same length."""
    size = max(1, -(-len(items) // parts))
    return [items[start : start + size] for start in range(0, len(items), size)]


def suitable_processes(rows: int) -> int:
    """One per processor; only this process where forking is unsafe, with other threads running or outside Linux."""
    if rows < ROWS_WORTH_IT or sys.platform != "linux" or silence.others_are_running():
        return 1
    return min(MOST_PROCESSES, len(os.sched_getaffinity(0)))


def noop() -> None:
    """Do nothing."""


def for_each(
    items: Sequence[Item],
    work: Callable[[Item, ProgressCallback], Result],
    *,
    processes: int,
    on_progress: ProgressCallback,
    on_exit: Callable[[], None] = noop,
    waiting: silence.Waiting | None = None,
) -> list[Result]:
    """``work(item, report)`` of every item, in the items' order; started in that order, too.

    The first error, Ctrl-C, or the silence of the server for which the processes are `waiting` ends the others at once;
    the last raises NoAnswer. `on_exit` is called in each process before it ends.
    With one process everything happens in this one, and `on_exit` is left to the caller.
    """
    if processes == 1 or len(items) < 2:
        return [work(item, on_progress) for item in items]
    with contextlib.ExitStack() as stack:
        pool = ForkedPool(items, work, on_exit)
        stack.callback(pool.stop)
        pool.start(min(processes, len(items)))
        waiting = waiting or silence.Waiting()
        for worker in pool.workers:
            stack.enter_context(waiting.program(worker))
        try:
            return pool.collect(on_progress)
        except OpsError as error:
            if waiting.reason:
                raise silence.NoAnswer(waiting.reason) from error
            raise


@dataclass
class ForkedPool:
    """Forked processes that request one item after the other."""

    items: Sequence[Any]
    work: Callable[[Any, ProgressCallback], Any]
    on_exit: Callable[[], None]
    pipes: list[Connection] = field(default_factory=list)
    workers: list[Any] = field(default_factory=list)

    def start(self, processes: int) -> None:
        context = multiprocessing.get_context("fork")
        for _ in range(processes):
            ours, theirs = context.Pipe()
            self.pipes.append(ours)
            worker = context.Process(target=self.serve, args=(theirs,), daemon=True)
            worker.start()
            self.workers.append(worker)
            theirs.close()

    def serve(self, pipe: Connection) -> None:
        """In the child: work until the parent has no more items, or has died."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        for inherited in self.pipes:
            # A sibling that kept the parent's end open would hide the death of the parent from the others.
            inherited.close()
        with contextlib.suppress(EOFError, BrokenPipeError):
            while (number := pipe.recv()) is not None:
                pipe.send((number, *self.attempt(self.items[number], pipe)))
        self.on_exit()

    def attempt(self, item: Any, pipe: Connection) -> tuple[Any, BaseException | None]:
        try:
            return self.work(item, pipe.send), None
        except (EOFError, BrokenPipeError):
            raise
        except Exception as error:  # noqa: BLE001 - raised again in the parent
            return None, error

    def collect(self, on_progress: ProgressCallback) -> list[Any]:
        """Hand out the items, pass progress on, and give the results in order."""
        results: dict[int, Any] = {}
        waiting = deque(range(len(self.items)))
        for pipe in self.pipes:
            pipe.send(waiting.popleft())
        while len(results) < len(self.items):
            for pipe in self.pipes_with_news():
                match self.receive(pipe):
                    case Progress() as progress:
                        on_progress(progress)
                    case (_, _, Exception() as error):
                        raise error
                    case (number, result, _):
                        results[number] = result
                        if waiting:
                            pipe.send(waiting.popleft())
        for pipe in self.pipes:
            pipe.send(None)
        for worker in self.workers:
            worker.join()
        return [results[number] for number in range(len(self.items))]

    def pipes_with_news(self) -> list[Connection]:
        ready = wait(self.pipes)
        return [pipe for pipe in self.pipes if pipe in ready]

    def receive(self, pipe: Connection) -> Any:
        try:
            return pipe.recv()
        except EOFError:
            raise OpsError("A worker process ended unexpectedly: it was killed, or memory ran out.") from None

    def stop(self) -> None:
        """Terminate the processes that still run."""
        for worker in self.workers:
            worker.terminate()
            worker.join()
        for pipe in self.pipes:
            pipe.close()
