"""Rows of an untrusted SQLite file: only stored values of ordinary tables that Django can read."""

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from ops.backups.untrusted import process
from ops.errors import ArtifactInvalid

OURS = """
CREATE TABLE thing (id integer NOT NULL PRIMARY KEY AUTOINCREMENT, name varchar(20), number integer, flag bool,
    ratio real, price decimal, day date, moment datetime, clock time, code char(32), data blob,
    extra text CHECK (JSON_VALID(extra) OR extra IS NULL), kind_id integer REFERENCES content_type (id));
CREATE TABLE content_type (id integer PRIMARY KEY, app_label varchar(100), model varchar(100));
CREATE TABLE permission (id integer PRIMARY KEY, content_type_id integer, codename varchar(100));
INSERT INTO content_type VALUES (7, 'lab', 'thing');
INSERT INTO thing (name) VALUES ('a seed of a migration');
"""
THEIRS = """
CREATE TABLE thing (id integer PRIMARY KEY, name, number, flag, ratio, price, day, moment, clock, code, data, extra,
    kind_id, more);
CREATE TABLE content_type (id integer PRIMARY KEY, app_label, model);
INSERT INTO content_type VALUES (1, 'lab', 'thing'), (2, 'lab', 'gone');
"""


def write(path: Path, script: str) -> str:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)
    return str(path)


def copied(tmp_path: Path, script: str) -> tuple[dict[str, Any], list[tuple[Any, ...]]]:
    theirs, ours = write(tmp_path / "theirs.db", THEIRS + script), write(tmp_path / "ours.db", OURS)
    limits = process.limits_for(Path(theirs).stat().st_size)
    result = process.call(
        "copy_sqlite_rows",
        limits=limits,
        path=theirs,
        destination=ours,
        tables=["thing"],
        content_types="content_type",
        permissions="permission",
    )
    process.call("check_sqlite_constraints", limits=limits, path=ours)
    with contextlib.closing(sqlite3.connect(ours)) as connection:
        return result, connection.execute("SELECT * FROM thing ORDER BY id").fetchall()


def test_copied_rows_are_unchanged_and_replace_seed_rows(tmp_path: Path) -> None:
    row = (
        "5, 'ünï', 3, 1, 0.5, '1.25', '2024-02-29', '2024-01-01 10:00:00.000001', '10:00:00',"
        " '00000000000000000000000000000001', x'00ff', '{}'"
    )
    result, rows = copied(tmp_path, f"INSERT INTO thing VALUES ({row}, 1, 'x'), (6{', NULL' * 13});")
    assert [found[0] for found in rows] == [5, 6]
    assert rows[0][1:6] == ("ünï", 3, 1, 0.5, 1.25)
    assert rows[0][-1] == 7, "content types are matched by natural key"
    assert result == {"rows": {"thing": 2}, "unmatched": {}, "columns": {"thing": ["more"]}}


def test_rows_with_an_unknown_content_type_are_left_out(tmp_path: Path) -> None:
    result, rows = copied(tmp_path, "INSERT INTO thing (id, kind_id) VALUES (1, 2), (2, 99), (3, 1);")
    assert [row[0] for row in rows] == [3]
    assert result["unmatched"] == {"thing": 2}


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("name", "5"),
        ("name", "CAST(x'ff' AS TEXT)"),
        ("number", "'abc'"),
        ("number", "1.5"),
        ("flag", "2"),
        ("ratio", "'x'"),
        ("price", "'1,5'"),
        ("day", "'2024-02-30'"),
        ("day", "20240101"),
        ("moment", "'yesterday'"),
        ("clock", "'25:00'"),
        ("code", "'zz'"),
        ("data", "'text'"),
        ("extra", "'{'"),
        ("kind_id", "'abc'"),
    ],
)
def test_value_that_django_cannot_read_is_refused(tmp_path: Path, column: str, value: str) -> None:
    with pytest.raises(ArtifactInvalid):
        copied(tmp_path, f"INSERT INTO thing (id, {column}) VALUES (1, {value});")


def test_key_without_numbers_for_new_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactInvalid, match="leaves no numbers for new rows"):
        copied(tmp_path, "INSERT INTO thing (id) VALUES (9223372036854775807);")


@pytest.mark.parametrize(
    "script",
    [
        "DROP TABLE thing; CREATE VIEW thing AS SELECT 1 AS id, load_extension('x') AS name;",
        "DROP TABLE thing; CREATE VIRTUAL TABLE thing USING fts5(name);",
        """DROP TABLE thing; PRAGMA writable_schema = ON; INSERT INTO sqlite_master
        VALUES ('table', 'thing', 'thing', 2, 'CREATE VIRTUAL TABLE thing USING fts5(name)');""",
    ],
    ids=["view", "virtual", "forged"],
)
def test_only_ordinary_tables_are_read(tmp_path: Path, script: str) -> None:
    result, rows = copied(tmp_path, script)
    assert (result["rows"], rows) == ({}, [])


def test_generated_columns_and_functions_are_not_computed(tmp_path: Path) -> None:
    script = "DROP TABLE thing; CREATE TABLE thing (id integer PRIMARY KEY, number AS (id + 41));"
    _, rows = copied(tmp_path, f"{script} INSERT INTO thing (id) VALUES (1);")
    assert rows[0][:3] == (1, None, None)


def test_file_with_another_encoding_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "utf16.db", "PRAGMA encoding = 'UTF-16le'; CREATE TABLE a (b);")
    with pytest.raises(ArtifactInvalid, match="Its text is in UTF-16le, and only UTF-8 is taken"):
        process.call("survey_sqlite", limits=process.limits_for(1000), path=path)


def test_slow_constraint_ends_the_limited_process_only(tmp_path: Path) -> None:
    """Django's REGEXP with a malicious value: 28 characters took 11.8 s in the site."""
    constraint = "CREATE TABLE slow (a text CHECK (a REGEXP '^(a+)+$'))"
    with contextlib.closing(sqlite3.connect(tmp_path / "slow.db")) as connection:
        connection.create_function("REGEXP", 2, lambda *_: True, deterministic=True)
        connection.execute(constraint)
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute("INSERT INTO slow VALUES (?)", ["a" * 40 + "!"])
        connection.commit()
    limits = process.Limits(unpacked=1 << 20, cpu=2)
    with pytest.raises(ArtifactInvalid, match="more than 2 s of CPU time"):
        process.call("check_sqlite_constraints", limits=limits, path=str(tmp_path / "slow.db"))
