"""Dump and restore of a database: equal content, and nothing left over."""

import io

import pytest

from ops.backups.engines.postgresql.engine import PostgresEngine
from ops.backups.engines.postgresql.undo_comment import PREVIOUS
from ops.backups.manifest import Kind
from ops.utils.progress import no_progress
from tests.backups.postgresql import support
from tests.backups.postgresql.support import Backup, Database


@pytest.mark.parametrize("kind", [Kind.SQL, Kind.CUSTOM])
def test_restore_gives_the_content_of_the_backup(lab: Database, engine: PostgresEngine, kind: Kind) -> None:
    dump, before = support.dump_of(engine, kind)
    assert engine.count(io.BytesIO(dump), kind=kind, on_progress=no_progress) == {
        name: table.rows for name, table in before.items()
    }
    lab.rows("DELETE FROM device; UPDATE rack SET notes = 'changed'; DROP TABLE nothing; CREATE TABLE later ()")
    assert support.restore(engine, dump, kind=kind) == before
    assert support.tables_of(engine) == before
    assert support.leftovers(lab.name) == [PREVIOUS]
    # Keys go on where they were.
    assert lab.value("INSERT INTO device (rack_id) VALUES (1) RETURNING id") == 501


def test_undo_gives_the_content_before_the_restore(lab: Database, engine: PostgresEngine, lab_backup: Backup) -> None:
    dump, _ = lab_backup
    lab.rows("INSERT INTO rack (name) VALUES ('new')")
    changed = support.tables_of(engine)
    restored = support.restore(engine, dump)
    kept = engine.swap_strategy().previous_database()
    assert kept
    assert (kept.run, kept.backup) == ("run-1", "backup-1")
    support.undo(engine, run="run-2")
    assert support.tables_of(engine) == changed
    kept = engine.swap_strategy().previous_database()
    assert kept
    assert (kept.run, kept.backup) == ("run-2", "undo")
    support.undo(engine, run="run-3")
    assert support.tables_of(engine) == restored
    support.drop_previous(engine)
    assert engine.swap_strategy().previous_database() is None
    assert support.leftovers(lab.name) == []
