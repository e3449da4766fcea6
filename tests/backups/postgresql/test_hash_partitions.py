"""Partitions by the hash of an enum: a restore loads rows into other ones, because the enum has new OIDs."""

import io
from collections.abc import Mapping
from pathlib import Path

import pytest

from ops.backups.engines.base import Tables
from ops.backups.engines.postgresql.engine import PostgresEngine
from ops.backups.manifest import Kind
from ops.utils.progress import no_progress
from tests.backups import factories
from tests.backups.postgresql import support
from tests.backups.postgresql.support import Database

PARTS = 4
MOODS = ", ".join(f"'mood {number}'" for number in range(60))
ENUM = f"CREATE TYPE mood AS ENUM ({MOODS})"
ROWS = "SELECT n, (enum_range(NULL::mood))[n % 60 + 1], repeat('x', n % 90) FROM generate_series(0, 599) AS n"


def partitions_of(parent: str, prefix: str) -> list[str]:
    return [
        f"CREATE TABLE {prefix}{n} PARTITION OF {parent} FOR VALUES WITH (MODULUS {PARTS}, REMAINDER {n})"
        for n in range(PARTS - 1)
    ]


HASHED = [
    ENUM,
    "CREATE TABLE tree (id int, mood mood, note text) PARTITION BY HASH (mood)",
    *partitions_of("tree", "leaf"),
    # Its columns have another order.
    "CREATE TABLE leaf3 (note text, gone int, mood mood, id int); ALTER TABLE leaf3 DROP COLUMN gone",
    f"ALTER TABLE tree ATTACH PARTITION leaf3 FOR VALUES WITH (MODULUS {PARTS}, REMAINDER 3)",
    f"INSERT INTO tree {ROWS}",
]
NESTED = [
    ENUM,
    'CREATE SCHEMA "Attic"',
    'CREATE TABLE "Attic".tree (id int, mood mood, note text) PARTITION BY RANGE (id)',
    'CREATE TABLE plain PARTITION OF "Attic".tree FOR VALUES FROM (0) TO (300)',
    'CREATE TABLE hashed PARTITION OF "Attic".tree FOR VALUES FROM (300) TO (600) PARTITION BY HASH (mood)',
    *partitions_of("hashed", "leaf"),
    f"CREATE TABLE leaf3 PARTITION OF hashed FOR VALUES WITH (MODULUS {PARTS}, REMAINDER 3)",
    f'INSERT INTO "Attic".tree {ROWS}',
]


def rows_of(tables: Tables) -> Mapping[str, int]:
    return {name: table.rows for name, table in tables.items() if "tree" in name or name in {"plain", "leaf0"}}


def spread(database: Database) -> list[tuple[int]]:
    return [database.rows(f"SELECT count(*) FROM ONLY leaf{n}")[0] for n in range(PARTS)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("statements", "rows"),
    [(HASHED, {"tree": 600}), (NESTED, {"plain": 300, "Attic.tree": 300})],
    ids=["root", "subpartition"],
)
@pytest.mark.parametrize("kind", [Kind.SQL, Kind.CUSTOM])
def test_rows_are_counted_and_restored_under_the_root(
    lab: Database, engine: PostgresEngine, kind: Kind, statements: list[str], rows: Mapping[str, int]
) -> None:
    for statement in statements:
        lab.rows(statement)
    dump, before = support.dump_of(engine, kind)
    assert rows_of(before) == rows
    assert engine.count(io.BytesIO(dump), kind=kind, on_progress=no_progress) == {
        name: table.rows for name, table in before.items()
    }
    before_spread = spread(lab)
    assert support.restore(engine, dump, kind=kind) == before
    assert support.tables_of(engine) == before
    assert spread(lab) != before_spread


def test_backup_is_verified(lab: Database, engine: PostgresEngine, tmp_path: Path) -> None:
    for statement in HASHED:
        lab.rows(statement)
    manifest = factories.make_backup(engine, factories.catalog_in(tmp_path), Kind.SQL_GZIP)
    assert manifest.tables["tree"].rows == 600


def test_change_of_one_value_changes_the_digest(lab: Database, engine: PostgresEngine) -> None:
    for statement in HASHED:
        lab.rows(statement)
    before = support.tables_of(engine)
    lab.rows("UPDATE tree SET note = 'other' WHERE id = 17")
    assert support.tables_of(engine)["tree"].digest != before["tree"].digest
    lab.rows("UPDATE tree SET note = repeat('x', 17) WHERE id = 17")
    assert support.tables_of(engine) == before


def test_owner_restores_it_within_the_database(owner: Database, lab: Database) -> None:
    for statement in HASHED:
        owner.rows(statement)
    engine = support.engine_of(owner)
    dump, before = support.dump_of(engine)
    assert support.restore(engine, dump) == before
    assert support.tables_of(engine) == before
