"""One operation at a time; a refusal names the holder."""

import re
from pathlib import Path

import pytest

from ops.backups.engines.sqlite.engine import SqliteEngine
from ops.errors import AlreadyRunning, PreconditionFailed
from tests.backups.sqlite import support

HOLD = """
with SqliteEngine(Path(sys.argv[1])).locked("restore by alice"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_second_lock_names_the_holder_and_the_time(engine: SqliteEngine, live: Path) -> None:
    holder = support.start(live, HOLD)
    with support.ended(holder):
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(AlreadyRunning) as refusal, engine.locked("me"):
            pytest.fail("Both hold it")
        message = re.escape(f"Another operation on {live} is running: restore by alice, since ")
        assert re.fullmatch(message + r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\.", refusal.value.message)
        holder.kill()
        holder.wait()
        with engine.locked("me"):
            pass


def test_lock_excludes_threads_of_the_same_process(engine: SqliteEngine) -> None:
    with engine.locked("first"), pytest.raises(AlreadyRunning, match=": first, since "), engine.locked("second"):
        pytest.fail("Both hold it")


def test_lock_does_not_follow_a_symbolic_link(engine: SqliteEngine, live: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    live.with_name("lab.db.ops-lock").symlink_to(victim)
    words = "lab.db.ops-lock cannot be opened"
    with pytest.raises(PreconditionFailed, match=words), engine.locked("me"):
        pytest.fail("It was followed")
    assert victim.read_text() == "mine"
