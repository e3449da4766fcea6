"""kill -9 at every step of a swap: the content is the old or the new one, and the next operation recovers."""

import signal
from pathlib import Path

import pytest

from ops.backups.engines.sqlite.engine import SqliteEngine
from tests.backups.sqlite import support
from tests.backups.sqlite.support import content, other_files, restore

VICTIM = """
import importlib, threading
engine, data, point, delay = SqliteEngine(Path(sys.argv[1])), sys.argv[2], sys.argv[3], float(sys.argv[4])
when, module, name = point.split(":")
module = importlib.import_module(module)
holder = getattr(module, "Path") if name.startswith("Path.") else module
name = name.removeprefix("Path.")
real = getattr(holder, name)

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def dying(*arguments, **named):
    if when == "before":
        die()
    result = real(*arguments, **named)
    if when == "after":
        die()
    threading.Timer(delay, die).start()
    return result

with engine.locked("the victim"):
    with engine.swap_strategy().scratch(for_swap=True) as scratch:
        with open(data, "rb") as file:
            scratch.load(file, kind=Kind.SQLITE, on_progress=no_progress)
        setattr(holder, name, dying)
        scratch.swap(run="killed", backup="b.sqlite3")
time.sleep(1)
print("survived")
"""
SWAP, UNDO, SNAPSHOT = "ops.databases.sqlite.swap", "ops.databases.sqlite.undo", "ops.databases.sqlite.snapshot"
BEFORE_COMMIT = [
    f"before:{SWAP}:match_settings",
    f"after:{SWAP}:match_settings",
    f"after:{SWAP}:write_marker",
    f"before:{SNAPSHOT}:create_private",
    f"before:{SNAPSHOT}:copy_pages",
    f"after:{SNAPSHOT}:copy_pages",
    f"before:{SWAP}:write_intent",
    f"before:{UNDO}:Path.replace",
    f"after:{SWAP}:write_intent",
    f"after:{SWAP}:save_undo_copy",
]
AFTER_COMMIT = [
    f"before:{SWAP}:recover_interrupted_swap",
    f"after:{UNDO}:read_marker",
    f"before:{UNDO}:remove",
    f"after:{UNDO}:remove",
    f"before:{UNDO}:drop_marker",
    f"after:{UNDO}:drop_marker",
]


@pytest.fixture
def restored_before(engine: SqliteEngine, live: Path, tmp_path: Path) -> SqliteEngine:
    """The live content is "old", and the previous database has the content "earlier"."""
    earlier = tmp_path / "earlier.db"
    support.write_content(earlier, "earlier")
    old = support.backup(live)
    restore(engine, support.backup(earlier), run="r0")
    restore(engine, old, run="r1")
    return engine


def kill(live: Path, data: bytes, point: str, delay: float = 0.0) -> None:
    file = live.parent.parent / "data"
    file.write_bytes(data)
    victim = support.start(live, VICTIM, str(file), point, str(delay))
    out, err = victim.communicate(timeout=60)
    assert (victim.returncode, out, err) == (-signal.SIGKILL, "", "")


def undo_of(engine: SqliteEngine) -> tuple[str, str]:
    kept = engine.swap_strategy().previous_database()
    assert kept is not None
    return kept.run, content(engine.path.with_name(kept.name))


@pytest.mark.parametrize("point", BEFORE_COMMIT)
def test_swap_killed_before_the_commit_keeps_the_old_content(
    restored_before: SqliteEngine, live: Path, data: bytes, point: str
) -> None:
    kill(live, data, point)
    assert content(live) == "old"
    with restored_before.locked("the next one"):
        found = restored_before.sweep()
    assert found[-1].endswith(", the working directory of a killed run.")
    assert undo_of(restored_before) == ("r1", "earlier")
    still_usable(restored_before, live, data)


@pytest.mark.parametrize("point", AFTER_COMMIT)
def test_swap_killed_after_the_commit_has_the_new_content(
    restored_before: SqliteEngine, live: Path, data: bytes, point: str
) -> None:
    kill(live, data, point)
    assert content(live) == "new"
    with restored_before.locked("the next one"):
        found = restored_before.sweep()
    assert found[-1].endswith(", the working directory of a killed run.")
    assert undo_of(restored_before) == ("killed", "old")
    still_usable(restored_before, live, data)


def still_usable(engine: SqliteEngine, live: Path, data: bytes) -> None:
    assert support.value(live, "SELECT count(*) FROM sqlite_master WHERE name LIKE 'ops%'") == 0
    assert len(other_files(live)) == 2, other_files(live)
    assert engine.sweep() == ()
    restore(engine, data, run="again")
    assert content(live) == "new"
    support.undo(engine, run="back")
    assert undo_of(engine) == ("back", "new")


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A backup that takes a while to be swapped in."""
    path = tmp_path_factory.mktemp("large") / "large.db"
    support.write_content(path, "new", rows=20_000)
    return support.backup(path)


@pytest.mark.parametrize("milliseconds", [0, 1, 3, 8, 25])
def test_swap_killed_while_writing_has_the_old_or_the_new_content(
    restored_before: SqliteEngine, live: Path, large: bytes, milliseconds: int
) -> None:
    kill(live, large, f"then:{SWAP}:save_undo_copy", milliseconds / 1000)
    label = content(live)
    found = restored_before.sweep()
    if label == "old":
        assert "The run killed was killed before it could swap in b.sqlite3: the database is unchanged." in found
        assert undo_of(restored_before) == ("r1", "earlier")
    else:
        assert label == "new"
        assert undo_of(restored_before) == ("killed", "old")
    still_usable(restored_before, live, large)


def test_sweep_names_what_a_killed_swap_left(engine: SqliteEngine, live: Path, data: bytes) -> None:
    kill(live, data, f"before:{SWAP}:recover_interrupted_swap")
    kept = next(name for name in other_files(live) if ".ops-undo-" in name)
    (directory,) = live.parent.glob("*.ops-work-*")
    assert engine.sweep() == (
        (
            "The run killed was killed after it had swapped in b.sqlite3: that is the live database now,"
            f" and the previous database is kept as {kept}."
        ),
        f"Deleted {directory}, the working directory of a killed run.",
    )


@pytest.mark.parametrize(
    "point",
    [
        f"before:{SWAP}:write_intent",
        f"after:{SWAP}:write_intent",
        f"after:{SWAP}:Path.hardlink_to",
        f"after:{SWAP}:Path.rename",
    ],
)
def test_swap_killed_before_replacing_a_damaged_file_keeps_it(
    engine: SqliteEngine, live: Path, data: bytes, point: str
) -> None:
    broken = b"\xee" * 9000
    live.write_bytes(broken)
    index = live.with_name("lab.db-shm")
    index.write_bytes(b"of its journal")
    kill(live, data, point)
    engine.sweep()
    assert (live.read_bytes(), index.read_bytes()) == (broken, b"of its journal")
    assert other_files(live) == []
    restore(engine, data, run="again")
    assert content(live) == "new"


def test_swap_killed_after_replacing_a_damaged_file_has_the_new_content(
    engine: SqliteEngine, live: Path, data: bytes
) -> None:
    broken = b"\xee" * 9000
    live.write_bytes(broken)
    kill(live, data, f"before:{SWAP}:recover_interrupted_swap")
    assert content(live) == "new"
    engine.sweep()
    kept = engine.swap_strategy().previous_database()
    assert kept is not None
    assert live.with_name(kept.name).read_bytes() == broken
    assert len(other_files(live)) == 2


def test_sweep_ignores_the_working_directory_of_a_running_program(engine: SqliteEngine, live: Path) -> None:
    with engine.swap_strategy().scratch(for_swap=True) as scratch:
        assert engine.sweep() == ()
        assert scratch.path.exists()
