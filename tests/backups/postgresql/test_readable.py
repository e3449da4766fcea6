"""What the role may not read is named before a backup begins, with the statement for it."""

from collections.abc import Iterator
from typing import Any

import pytest

from ops.backups.engines.postgresql import snapshot
from ops.backups.engines.postgresql.engine import PostgresEngine
from ops.backups.manifest import Kind
from ops.errors import PreconditionFailed
from ops.utils.progress import no_progress
from tests.backups.postgresql import support
from tests.backups.postgresql.support import Database, Role

OBJECTS = "SELECT lo_from_bytea(oid, 'x') FROM unnest(ARRAY[4711, 4712]::oid[]) AS oid"


@pytest.fixture
def reader(role: Role, lab: Database) -> Iterator[Database]:
    """The lab for a role that may read all tables, and owns `rack`."""
    name, password = role()
    lab.rows(f"GRANT pg_read_all_data TO {name}; ALTER TABLE rack OWNER TO {name}")
    yield support.database_named(lab.name, user=name, password=password)
    support.drop(lab.name)


def refusal(database: Database) -> PreconditionFailed:
    with pytest.raises(PreconditionFailed) as refused, support.engine_of(database).snapshot(kind=Kind.SQL):
        pass
    return refused.value


def test_backup_of_an_owner_s_tables_needs_no_more(reader: Database, lab: Database) -> None:
    """The owner's rows are not hidden, and an owner may read its large objects."""
    lab.rows(f"ALTER TABLE rack ENABLE ROW LEVEL SECURITY; {OBJECTS}")
    lab.rows(f"ALTER LARGE OBJECT 4711 OWNER TO {reader.address.user}; GRANT SELECT ON LARGE OBJECT 4712 TO PUBLIC")
    dump, tables = support.dump_of(support.engine_of(reader))
    assert tables["rack"].rows == 3
    assert b"4712" in dump


@pytest.mark.parametrize(
    ("statements", "named"),
    [
        ("CREATE SCHEMA other CREATE TABLE hidden (x int); GRANT SELECT ON other.hidden TO PUBLIC", "hidden"),
        ("REVOKE SELECT ON rack FROM {role}", "rack"),
        ("CREATE SEQUENCE numbers", "numbers"),
    ],
)
def test_tables_sequences_and_schemas_of_others_are_named(
    statements: str, named: str, reader: Database, lab: Database
) -> None:
    role = reader.address.user
    lab.rows(
        f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}; GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}"
    )
    lab.rows(f"REVOKE pg_read_all_data FROM {role}; {statements.format(role=role)}")
    assert str(refusal(reader)) == (
        f"The role {role} may not read 1 tables and sequences of {reader.address}: {named}.\n"
        f'As an administrator: GRANT pg_read_all_data TO "{role}";'
    )
    support.server().rows(f"GRANT pg_read_all_data TO {role}")
    support.dump_of(support.engine_of(reader))


@pytest.mark.parametrize(
    ("statements", "table"),
    [
        ("ALTER TABLE rack ENABLE ROW LEVEL SECURITY; ALTER TABLE rack FORCE ROW LEVEL SECURITY", "rack"),
        ("CREATE POLICY few ON device USING (id < 2); ALTER TABLE device ENABLE ROW LEVEL SECURITY", "device"),
        ('ALTER TABLE "odd ""name"" with quotes" ENABLE ROW LEVEL SECURITY', '"odd ""name"" with quotes"'),
    ],
)
def test_tables_with_row_level_security_are_named(statements: str, table: str, reader: Database, lab: Database) -> None:
    lab.rows(statements)
    name = reader.address.user
    assert str(refusal(reader)) == (
        f"Row level security hides rows of {table} in {reader.address} from the role {name}.\n"
        f'As an administrator: ALTER ROLE "{name}" BYPASSRLS; or, if the role owns the tables:'
        f" ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY;"
    )
    support.server().rows(f"ALTER ROLE {name} BYPASSRLS")
    assert support.dump_of(support.engine_of(reader))[1]["rack"].rows == 3


@pytest.mark.parametrize(
    ("statements", "named"),
    [
        ("", "2 large objects of {}: 4711, 4712"),
        ("GRANT SELECT ON LARGE OBJECT 4712 TO pg_read_all_data", "1 large object of {}: 4711"),
        ("GRANT UPDATE ON LARGE OBJECT 4711 TO PUBLIC", "2 large objects of {}: 4711, 4712"),
    ],
)
def test_large_objects_of_others_are_named(statements: str, named: str, reader: Database, lab: Database) -> None:
    lab.rows(f"{OBJECTS}; {statements}")
    name = reader.address.user
    error = refusal(reader)
    assert error.message == f"The role {name} may not read {named.format(reader.address)}."
    query = error.hint.partition(": ")[2].removesuffix(" \\gexec")
    for (grant,) in lab.rows(query):
        lab.rows(grant)
    assert b"lo_create" in support.dump_of(support.engine_of(reader))[0]


def test_error_of_the_digests_is_raised_where_it_ended_the_snapshot_of_pg_dump(
    engine: PostgresEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(cursor: Any, **_: Any) -> None:
        cursor.execute("SELECT 1 / 0")

    monkeypatch.setattr(snapshot, "read_digests", fail)
    with engine.snapshot(kind=Kind.SQL) as taken:
        with pytest.raises(PreconditionFailed, match="division by zero"):
            taken.tables()
        with pytest.raises(PreconditionFailed, match=r"^The database .* cannot be read: division by zero"):
            list(taken.stream(no_progress))
