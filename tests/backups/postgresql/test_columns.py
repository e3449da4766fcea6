"""Reading columns of a dump without loading it."""

import io

import pytest
from django.db import Error, connection

from ops.backups.engines.postgresql.dump_reader import decode_value
from ops.backups.engines.postgresql.engine import PostgresEngine
from ops.backups.manifest import Kind
from ops.errors import ArtifactInvalid, PreconditionFailed
from tests.backups.postgresql import support
from tests.backups.postgresql.support import Backup, Database

END = "\\.\n\n--\n-- PostgreSQL database dump complete\n--\n"


@pytest.mark.parametrize("kind", [Kind.SQL, Kind.CUSTOM])
def test_read_columns_of_a_dump_gives_the_values_of_the_database(
    lab: Database, engine: PostgresEngine, kind: Kind
) -> None:
    dump, _ = support.dump_of(engine, kind)
    columns = {
        "rack": ("notes", "name", "height", "settings"),
        'odd "name" with quotes': ("order", "a column"),
        "device": ("name", "no_such_column"),
        "no_such_table": ("id",),
    }
    found = engine.read_columns(io.BytesIO(dump), kind=kind, columns=columns)
    assert set(found) == {"rack", 'odd "name" with quotes'}
    rows = "SELECT notes, name, height::text, settings::text FROM rack"
    assert sorted(found["rack"], key=str) == sorted(lab.rows(rows), key=str)
    odd = 'SELECT "order", "a column"::text FROM "odd ""name"" with quotes"'
    assert sorted(found['odd "name" with quotes'], key=str) == sorted(lab.rows(odd), key=str)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        (b"\\N", None),
        (b"\\\\N", "\\N"),
        (b"", ""),
        (b"plain", "plain"),
        (b"\\x74", "t"),
        (b"\\164rue", "true"),
        (b"a\\tb\\nc\\rd\\be\\ff\\vg", "a\tb\nc\rd\be\ff\vg"),
        (b"\\\\\\\\x74", "\\\\x74"),
        (b"\\q\\x", "qx"),
        ("\\xc3\\xa9 é".encode(), "é é"),
    ],
)
def test_decode_value_reads_the_escapes_of_copy(written: bytes, value: str | None) -> None:
    assert decode_value(written) == value


def test_decode_value_agrees_with_the_server(lab: Database) -> None:
    written = [rb"\x74", rb"\164rue", rb"a\tb\bc", rb"\\x74", rb"\q", rb"\xc3\xa9", rb"\1234", rb"\x4"]
    connection = lab.connect()
    with connection, connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE escapes (number serial, value text)")
        cursor.copy_expert("COPY escapes (value) FROM stdin", io.BytesIO(b"\n".join(written) + b"\n"))
        cursor.execute("SELECT value FROM escapes ORDER BY number")
        assert [value for (value,) in cursor.fetchall()] == [decode_value(value) for value in written]
    connection.close()


def read(engine: PostgresEngine, text: str) -> object:
    return engine.read_columns(io.BytesIO(text.encode("latin-1")), kind=Kind.SQL, columns={"people": ("name", "id")})


def test_read_columns_of_a_table_in_several_copy_blocks_gives_all_rows(engine: PostgresEngine) -> None:
    one = "COPY public.people (id, name) FROM stdin;\n1\teve\n"
    two = "\\.\nCOPY people (name, id) FROM stdin;\nada\t2\n"
    assert read(engine, one + two + END) == {"people": [("eve", "1"), ("ada", "2")]}
    assert read(engine, one + "\\.\nCOPY people (name) FROM stdin;\nada\n" + END) == {}


@pytest.mark.parametrize("row", ["1", "1\teve\tmore", "1\t\xe9"])
def test_read_columns_of_rows_with_missing_values_is_refused(engine: PostgresEngine, row: str) -> None:
    with pytest.raises(ArtifactInvalid):
        read(engine, f"COPY public.people (id, name) FROM stdin;\n{row}\n{END}")


def test_previous_database_as_default_is_read_only(lab: Database, engine: PostgresEngine, lab_backup: Backup) -> None:
    with (
        pytest.raises(PreconditionFailed, match="no previous database is kept"),
        engine.swap_strategy().previous_as_default(),
    ):
        pass
    dump, _ = lab_backup
    lab.rows("UPDATE rack SET name = 'today' WHERE id = 1")
    support.restore(engine, dump)
    with engine.swap_strategy().previous_as_default(), connection.cursor() as cursor:
        cursor.execute("SELECT name FROM rack WHERE id = 1")
        assert cursor.fetchall() == [("today",)]
        with pytest.raises(Error, match="read-only"):
            cursor.execute("DELETE FROM device")
    assert engine.swap_strategy().previous_database()
    assert lab.rows("SELECT name FROM rack WHERE id = 1") == [("Hall",)]
