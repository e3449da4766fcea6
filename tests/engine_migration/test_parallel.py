"""Work that is shared among processes: in order, complete, and over at once when one fails or is gone."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ops.engine_migration import workers
from ops.engine_migration.workers import for_each, split, suitable_processes
from ops.errors import OpsError, PreconditionFailed
from ops.utils.progress import Progress, ProgressCallback, accumulate
from tests.engine_migration import support
from tests.engine_migration.support import BOOKS, Database


def double(item: int, on_progress: ProgressCallback) -> tuple[int, int]:
    on_progress(Progress(stage="test", item="all", done=item))
    return item * 2, os.getpid()


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_for_each_returns_results_in_the_order_of_items(processes: int) -> None:
    reports: list[Progress] = []
    results = for_each(range(20), double, processes=processes, on_progress=accumulate(reports.append))
    assert [result for result, _ in results] == [item * 2 for item in range(20)]
    assert reports[-1].done == sum(range(20))


def test_for_each_works_in_other_processes() -> None:
    def slow(item: int, on_progress: ProgressCallback) -> int:
        time.sleep(0.05)
        return double(item, on_progress)[1]

    pids = set(for_each(range(8), slow, processes=2, on_progress=lambda _: None))
    assert len(pids) == 2
    assert os.getpid() not in pids


def test_error_in_a_worker_ends_the_others_and_keeps_its_hint() -> None:
    def work(item: int, _tell: ProgressCallback) -> None:
        if item == 1:
            raise PreconditionFailed("No.", "Try again.")
        time.sleep(60)

    start = time.monotonic()
    with pytest.raises(PreconditionFailed) as caught:
        for_each(range(2), work, processes=2, on_progress=lambda _: None)
    assert (caught.value.message, caught.value.hint) == ("No.", "Try again.")
    assert time.monotonic() - start < 10


def test_killed_worker_fails_with_a_message() -> None:
    def work(_item: int, _tell: ProgressCallback) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(OpsError, match=r"A worker process ended unexpectedly: it was killed, or memory ran out\."):
        for_each(range(2), work, processes=2, on_progress=lambda _: None)


def test_on_exit_is_called_in_each_process(tmp_path: Path) -> None:
    def close() -> None:
        (tmp_path / str(os.getpid())).touch()

    results = for_each(range(8), double, processes=2, on_progress=lambda _: None, on_exit=close)
    assert {str(pid) for _, pid in results} <= {path.name for path in tmp_path.iterdir()}
    assert len(list(tmp_path.iterdir())) == 2


def test_workers_of_a_killed_parent_end() -> None:
    code = (
        "import os, time\n"
        "from ops.engine_migration.workers import for_each\n"
        "def work(item, on_progress):\n"
        "    os.write(1, b'%d\\n' % os.getpid())\n"
        "    time.sleep(0.3)\n"
        "for_each(range(100), work, processes=2, on_progress=lambda _: None)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    children = [int(parent.stdout.readline()) for _ in range(2)]
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 10
    while any(is_alive(child) for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    try:
        return "Z (zombie)" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_one_process_is_used_with_other_threads_or_few_rows() -> None:
    assert suitable_processes(10) == 1
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    assert suitable_processes(10**6) == 1
    stop.set()
    thread.join()


def test_split_returns_slices_of_similar_length() -> None:
    assert split([1, 2, 3, 4, 5], 2) == [[1, 2, 3], [4, 5]]
    assert split([], 3) == []


def test_migration_in_several_processes_succeeds(
    library: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "ROWS_WORTH_IT", 0)
    together = support.migrate(library, database, *support.only(library, "everything", *BOOKS))
    assert database.value("SELECT count(*) FROM otherproject_book") == 5
    assert together.document["status"] == "migrated"


def test_findings_of_several_processes_are_all_written(
    file: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "ROWS_WORTH_IT", 0)
    with support.opened(file) as connection:
        connection.executemany("INSERT INTO everything (number) VALUES (?)", [("many",)] * 5000)
        connection.commit()
    outcome = support.run(file, database, "--yes")
    assert outcome.code == 2
    found = support.read_findings(Path(outcome.document["findings"]["file"]))
    assert len(found) == outcome.document["findings"]["count"] == 5000
    assert database.tables() == []
