"""Cells of some types are checked a chunk at a time: no chunk is accepted with a cell that SQLite itself refuses."""

import contextlib
import itertools
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from ops.engine_migration import source_sql
from ops.engine_migration.source_sql import register_functions
from ops.engine_migration.types import ColumnType, column_type
from tests.engine_migration import support

MOMENTS = (
    *("2024-02-29 23:59:59", "0001-01-01 00:00:00.000001", "9999-12-31 23:59:59.999999"),
    *("2023-02-29 00:00:00", "0000-01-01 00:00:00", "2024-01-01 24:00:00", "2024-01-01 23:60:00"),
    "2024-01-01 00:00:60",
    *("2024-01-01 00:00:00.123", "2024-01-01T00:00:00", "2024-01-01 00:00:00+00:00", "2024-01-01", "20240101 000000"),
    *("2024-01-01 00:00:00\n2024-01-01 00:00:00", "2024-01-01 00:00:00\n", "\n2024-01-01 00:00:00", "", "\n"),
    *("2024-01-01 00:00:00\0", "٢٠٢٤-01-01 00:00:00", "2024-01-01 00:00:00 ", "-2024-01-01 00:00:00"),
    *(20240101, b"2024"),
)
UUIDS = (
    *("0" * 32, "0123456789abcdef" * 2),
    *("0" * 31, "0" * 33, "A" * 32, "g" * 32, "0" * 31 + " ", "0" * 31 + "\n", "0" * 31 + "é", "0" * 32 + "\0more"),
    *("0" * 16 + "\n" + "0" * 15, "12345678-1234-1234-1234-123456789012", "", "\n" * 32, 7, 0.5, b"0" * 32),
)
DOCUMENTS = (
    *("{}", '{"a": [1, null, true, "°C"]}', '"\\ud83d\\ude00"', "1e999", "-0", " 1 ", '{"a": 1, "a": 2}'),
    "[" * 900 + "]" * 900,
    *("", " ", "\n", "1\n2", "[1\n2]", "[1", "2]", "1,2", "[1,]", '{"a":1,}', "01", "1.", ".5", "+1", "NaN"),
    *("nul", "'a'", '"\t"', '"\x7f"', '"\\x"', '"\\u12g4"', '"\\ud800"', '"\\udc00\\ud800"', '"\\u0000"', '"a\nb"'),
    *('"', "Infinity", "1\0", "1 //", "\x0c1", "[" * 3000 + "]" * 3000, "\ufeff1", 7, 0.5, b"{}"),
)
CHECKED = [("timestamp with time zone", MOMENTS), ("uuid", UUIDS), ("jsonb", DOCUMENTS)]


def check_cells(kind: ColumnType, cells: tuple[Any, ...]) -> tuple[bool, list[Any]]:
    """Whether the chunk is accepted, and the cells that `canonical_check` is not true for."""
    assert kind.chunk_check
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        register_functions(connection)
        connection.execute("CREATE TABLE cells (c)")
        connection.executemany("INSERT INTO cells VALUES (?)", [(cell,) for cell in cells])
        condition, canonical = (sql.format(c="c") for sql in (kind.chunk_check.condition, kind.canonical_check))
        query = f"SELECT min({condition}), count(*), group_concat(c, char(10)) FROM cells"
        each, number, lines = connection.execute(query).fetchone()
        refused = connection.execute(f"SELECT c FROM cells WHERE NOT ifnull({canonical}, 0)").fetchall()
    return bool(each) and kind.chunk_check.accepts(lines, number), [cell for (cell,) in refused]


@pytest.mark.parametrize(("db_type", "values"), CHECKED)
def test_no_chunk_is_accepted_with_a_cell_that_sqlite_refuses(db_type: str, values: tuple[Any, ...]) -> None:
    kind = column_type(db_type)
    for cells in itertools.chain(itertools.product(values), itertools.product(values, repeat=2)):
        accepted, refused = check_cells(kind, cells)
        assert not (accepted and refused), cells


@pytest.mark.parametrize("cells", [("[1", "2]", "3,4"), ("1\n2", ""), ("[", "]"), ('"a', 'b"')])
def test_documents_that_are_whole_only_together_are_refused(cells: tuple[str, ...]) -> None:
    accepted, refused = check_cells(column_type("jsonb"), cells)
    assert not accepted
    assert refused


@pytest.mark.parametrize("document", ['"\\ud800"', '"\\udc00\\ud800"', '"\\u0000"'])
def test_escapes_that_postgresql_refuses_are_not_accepted(document: str) -> None:
    assert check_cells(column_type("jsonb"), ("{}", document)) == (False, [])


@pytest.mark.parametrize(
    ("db_type", "cells"),
    [
        ("timestamp with time zone", MOMENTS[:3]),
        ("uuid", UUIDS[:2]),
        ("jsonb", (json.dumps({"a": "°C 🖥️", "b": [1.5, None, {"c": True}]}), "{}", "[" * 900 + "]" * 900)),
    ],
)
def test_what_django_writes_is_accepted(db_type: str, cells: tuple[str, ...]) -> None:
    assert check_cells(column_type(db_type), cells) == (True, [])


@pytest.mark.parametrize(
    ("column", "good", "bad"),
    [
        ("moment", "2024-01-01 00:00:00", "2024-01-01 00:00:00\n2024-01-01 00:00:00"),
        ("code", "0" * 32, "0" * 31 + "\n"),
        ("data", "{}", "1\n2"),
    ],
)
def test_cell_with_a_line_break_among_valid_ones_is_a_finding(file: Path, column: str, good: str, bad: str) -> None:
    cells = ({"id": number, column: bad if number == 7 else good} for number in range(1, 10))
    support.put(file, "everything", *cells)
    assert [(key, where) for _, key, where, *_ in support.findings(file)] == [("7", column)]


def test_document_with_line_breaks_between_its_parts_is_no_finding(file: Path) -> None:
    support.put(file, "everything", {"id": 1, "data": '{\n "a":\n 1\n}'}, {"id": 2, "data": "{}"})
    assert support.findings(file) == []


def test_every_chunk_after_a_rejected_one_is_checked(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_sql, "CHUNK_ROWS", 2)
    bad = {3: {"moment": "2024-01-01T25:00:00"}, 6: {"code": "g" * 32}, 7: {"data": "[1"}, 8: {"moment": "soon"}}
    plain = {"moment": "2024-01-01 00:00:00", "code": "0" * 32, "data": "{}"}
    support.put(file, "everything", *({"id": number, **plain, **bad.get(number, {})} for number in range(1, 12)))
    found = [(int(key), column) for _, key, column, *_ in support.findings(file)]
    assert sorted(found) == [(number, column) for number, cells in bad.items() for column in cells]
