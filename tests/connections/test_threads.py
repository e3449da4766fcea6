"""Slots of threads that end without closing are freed without the garbage collector."""

import gc
import threading

from homerack.postgresql.base import DatabaseWrapper
from tests.support.backend import eventually, make_wrapper, query


def test_thread_end_frees_its_slot(url: str) -> None:
    model = make_wrapper(url)
    keep: list[DatabaseWrapper] = []

    def leave_open() -> None:
        mine = DatabaseWrapper(model.settings_dict, model.alias)
        keep.append(mine)  # so that not even its reference count helps
        mine.ensure_connection()

    gc.disable()
    try:
        for _ in range(10):  # more than the pool has slots
            thread = threading.Thread(target=leave_open)
            thread.start()
            thread.join()
    finally:
        gc.enable()

    def all_free() -> bool:
        status = model.pool_status()
        return status is not None and status["checked_out"] == status["total_connections"] == 0

    eventually(all_free)
    assert query(model, "SELECT 1") == 1
    model.close()


def test_close_from_another_thread_frees_one_slot(url: str) -> None:
    model = make_wrapper(url)
    handed: list[DatabaseWrapper] = []
    closed = threading.Event()

    def lend() -> None:
        mine = DatabaseWrapper(model.settings_dict, model.alias)
        mine.inc_thread_sharing()
        mine.ensure_connection()
        handed.append(mine)
        closed.wait(10)

    thread = threading.Thread(target=lend)
    thread.start()
    eventually(lambda: handed)
    handed[0].close()
    closed.set()
    thread.join()
    status = model.pool_status()
    assert status is not None
    assert (status["checked_in"], status["checked_out"]) == (1, 0)
