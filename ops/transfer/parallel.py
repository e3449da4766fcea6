"""Run one function over many items on a few threads, and stop all of them when one fails or Ctrl-C is pressed."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TypeVar

from ops.progress import Progress, Report

Item = TypeVar("Item")


class Stopped(Exception):
    """Raised in the other threads, at their next report, when one has failed."""


def nothing() -> None:
    """No statement of another program has to be interrupted."""


def for_each(
    items: Sequence[Item],
    work: Callable[[Item, Report], None],
    *,
    threads: int,
    report: Report,
    interrupt: Callable[[], None] = nothing,
) -> None:
    """Call ``work(item, report)`` for every item, started in their order. The first error is raised at the end.

    `work` has to report often: that is where it learns that it should stop. `interrupt` ends what it waits for.
    """
    stop = threading.Event()
    lock = threading.Lock()

    def tell(progress: Progress) -> None:
        if stop.is_set():
            raise Stopped
        with lock:
            report(progress)

    with ThreadPoolExecutor(max_workers=threads, thread_name_prefix="ops") as pool:
        futures = [pool.submit(work, item, tell) for item in items]
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            if not all(future.done() and not future.exception() for future in futures):
                stop.set()
                pool.shutdown(wait=False, cancel_futures=True)
                interrupt()
    # Those that came later were told to stop, or had their statement interrupted, which says nothing about why.
    for future in (*done, *futures):
        if not future.cancelled() and (error := future.exception()):
            raise error
