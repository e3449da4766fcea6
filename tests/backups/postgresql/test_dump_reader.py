"""The dump reader, with any text and with special objects."""

import io
import itertools
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ops.backups.engines.postgresql.dump_reader import DumpReader, Statement
from ops.backups.engines.postgresql.engine import PostgresEngine
from ops.backups.manifest import Kind
from ops.errors import PreconditionFailed
from ops.utils.progress import no_progress
from tests.backups.postgresql import support
from tests.backups.postgresql.support import Database, Role

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
AWKWARD = st.sampled_from(
    ["\\.", "\\", "\n\\.\n", "\\N", "\t", "'", "$$", ";", "--", "/*", "\r\n", "\\restrict x", "\\!"]
)
MIXED = st.lists(st.one_of(TEXTS, AWKWARD), max_size=4).map("".join)
MARKER = "-- PostgreSQL database dump complete\n"


def in_pieces(text: bytes, size: int) -> Iterator[bytes]:
    return (text[start : start + size] for start in range(0, len(text), size))


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(MIXED, st.one_of(st.none(), MIXED), st.binary(max_size=5)), max_size=9),
    size=st.integers(1, 40),
)
def test_restored_text_equals_the_original(
    lab: Database, engine: PostgresEngine, rows: list[tuple[str, str | None, bytes]], size: int
) -> None:
    """Values, a default and a comment: COPY blocks, strings and statements, in chunks of any size."""
    lab.rows("DROP TABLE IF EXISTS any_text; CREATE TABLE any_text (key text, value text, bytes bytea)")
    text = rows[0][0] if rows else ""
    statements = ["ALTER TABLE any_text ALTER key SET DEFAULT %s", "COMMENT ON TABLE any_text IS %s"]
    statements += ["INSERT INTO any_text VALUES (%s, %s, %s)"] * len(rows)
    lab.rows("; ".join(statements), [text, text, *itertools.chain.from_iterable(rows)])
    dump, before = support.dump_of(engine)
    assert support.restore_test(engine, dump)[1] == before
    items = list(DumpReader(in_pieces(dump, size)))
    assert [str(item) for item in items if isinstance(item, Statement)] == [
        str(item) for item in DumpReader(iter([dump])) if isinstance(item, Statement)
    ]
    counted = engine.count(io.BytesIO(dump), kind=Kind.SQL, on_progress=no_progress)
    assert counted == {name: table.rows for name, table in before.items()}
    found = engine.read_columns(io.BytesIO(dump), kind=Kind.SQL, columns={"any_text": ["key"], "gone": ["x"]})
    assert {table: sorted(values) for table, values in found.items()} == {
        "any_text": sorted((key,) for key, _, _ in rows)
    }


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT ';';",
        "SELECT 'it''s;', E'it\\'s;', U&'d\\0061t;', \"a;\"\"b\";",
        "DO $$ BEGIN ; END $$;",
        "DO $a_1$ $$;$$ $b$;$a$ $a_1$;",
        "SELECT a$1$ FROM b; ".strip(),
        "SELECT 1 /* ; /* ; */ ; */ -- ;\n;",
        "CREATE RULE r AS ON INSERT TO t DO ALSO (SELECT 1; SELECT 2);",
        "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END;",
        "CREATE OR REPLACE PROCEDURE p() BEGIN ATOMIC ; END;",
        "CREATE FUNCTION f(begin date) RETURNS int AS 'SELECT 1';",
        "CREATE FUNCTION f(begin atomic) RETURNS begin BEGIN  ATOMIC SELECT begin, atomic; SELECT 2; END;",
        "CREATE FUNCTION begin(x int) RETURNS atomic RETURN (begin).atomic;",
    ],
)
def test_reader_ends_statements_where_psql_does(statement: str) -> None:
    dump = f"{statement}\nSELECT 2;\n{MARKER}".encode()
    for size in (1, 7, len(dump)):
        items = [str(item) for item in DumpReader(in_pieces(dump, size))]
        assert items == [statement, "SELECT 2;"]


FUNCTIONS = """
CREATE FUNCTION f(begin date) RETURNS int LANGUAGE sql AS 'SELECT 1'
CREATE FUNCTION f(x int, OUT begin date) LANGUAGE sql AS 'SELECT now()::date'
CREATE FUNCTION f() RETURNS TABLE(begin date, "end" date) LANGUAGE sql AS 'SELECT now()::date, now()::date'
CREATE FUNCTION f(begin int DEFAULT 2) RETURNS int LANGUAGE sql SET search_path = begin, public AS 'SELECT 1'
CREATE FUNCTION f(begin int, atomic int) RETURNS int LANGUAGE sql RETURN begin + atomic
CREATE PROCEDURE f(begin int) LANGUAGE plpgsql AS 'BEGIN END'
CREATE FUNCTION begin(x int) RETURNS int LANGUAGE sql AS 'SELECT 1'
CREATE TYPE begin AS (x int); CREATE FUNCTION f(x begin) RETURNS begin BEGIN ATOMIC SELECT x; SELECT x; END
CREATE TABLE atomic (begin int); CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT begin FROM atomic; SELECT 1; END
CREATE FUNCTION f(begin int) RETURNS int BEGIN ATOMIC SELECT CASE begin WHEN 1 THEN 2 END AS "case"; SELECT begin; END
CREATE FUNCTION f(x int) RETURNS int BEGIN ATOMIC SELECT x AS begin; SELECT x; END
CREATE FUNCTION f() RETURNS void BEGIN ATOMIC END
""".strip().splitlines()


def test_names_that_are_words_of_sql_end_no_statement(lab: Database, engine: PostgresEngine) -> None:
    """BEGIN and ATOMIC are names unless they begin the body of a function; pg_dump does not quote them."""
    for number, statements in enumerate(FUNCTIONS):
        lab.rows(f"CREATE SCHEMA s{number}; SET search_path = s{number}; {statements}")
    dump, before = support.dump_of(engine)
    items = [str(item) for item in DumpReader(iter([dump])) if isinstance(item, Statement)]
    routines = [item for item in items if item.startswith(("CREATE FUNCTION", "CREATE PROCEDURE"))]
    assert len(routines) == len(FUNCTIONS)
    counted = engine.count(io.BytesIO(dump), kind=Kind.SQL, on_progress=no_progress)
    assert counted == {name: table.rows for name, table in before.items()}
    assert support.restore(engine, dump) == before


def test_restore_of_special_objects_recreates_them(lab: Database, engine: PostgresEngine) -> None:
    """Large objects, partitions, generated columns, functions, triggers, views, types, other schemas."""
    lab.rows(
        r"""
        SELECT lo_from_bytea(4711, '\x00ff5c');
        CREATE SCHEMA other;
        CREATE TYPE other.mood AS ENUM ('fine', 'it''s');
        CREATE TABLE other.part (id int, mood other.mood) PARTITION BY RANGE (id);
        CREATE TABLE other.part_1 PARTITION OF other.part FOR VALUES FROM (0) TO (10);
        INSERT INTO other.part VALUES (1, 'fine'), (2, 'it''s');
        CREATE TABLE made (a int, b int GENERATED ALWAYS AS (a * 2) STORED);
        INSERT INTO made VALUES (1);
        CREATE FUNCTION twice(a int) RETURNS int LANGUAGE sql IMMUTABLE BEGIN ATOMIC SELECT a * 2; END;
        CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.a := 7; RETURN NEW; END $$;
        CREATE TRIGGER touching BEFORE INSERT ON made FOR EACH ROW EXECUTE FUNCTION touch();
        CREATE VIEW seen AS SELECT twice(a) FROM made;
        CREATE MATERIALIZED VIEW kept AS SELECT twice(a) FROM made;
        """
    )
    dump, before = support.dump_of(engine)
    assert before["other.part_1"].rows == 2
    assert support.restore(engine, dump) == before
    assert lab.value("SELECT lo_get(4711)").tobytes() == b"\x00\xff\\"
    assert lab.rows("SELECT * FROM seen, kept") == [(2, 2)]
    assert lab.value("INSERT INTO made VALUES (1) RETURNING b") == 14


def test_restore_without_a_superusers_extension_names_the_command(role: Role, lab: Database) -> None:
    """Before anything is loaded."""
    name, password = role("CREATEDB")
    lab.rows("CREATE EXTENSION pg_stat_statements")
    support.server().rows(f"ALTER DATABASE {lab.name} OWNER TO {name}")
    engine = support.engine_of(support.database_named(lab.name, user=name, password=password))
    with pytest.raises(PreconditionFailed) as refused, engine.swap_strategy().scratch(for_swap=True):
        pass
    assert str(refused.value) == (
        "The database has the extension pg_stat_statements, which this role may not create in a new one.\n"
        "Ask for it in the template: psql -d template1 -c 'CREATE EXTENSION pg_stat_statements'"
    )
    assert support.leftovers(lab.name) == []
