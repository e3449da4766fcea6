"""Whatever differs after the copy is found and reported with its table, key and column."""

import gc
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ops.engine_migration import verify
from ops.engine_migration.prepared import PreparedFile
from ops.engine_migration.to_postgres.loading import Loader
from ops.engine_migration.types.documents import escape_json, same_documents, same_json
from ops.errors import VerificationFailed
from tests.engine_migration import support
from tests.engine_migration.support import BOOKS, Database

ROW: dict[str, Any] = {
    "moment": "2026-01-31 23:59:59.123456",
    "clock": "23:59:59.000001",
    "day": "2026-01-31",
    "real": 0.1,
    "money": 12.34,
    "long": "a text",
    "short": "",
    "big": 2**53 + 1,
    "flag": 1,
    "span": 1,
    "code": "0" * 31 + "1",
    "address": "10.0.0.1",
    "blob": b"\x00\x01",
    "data": '{"a": [1, {"b": 1.10, "c": true}], "d": null, "e": "1"}',
}
SEPARATORS = {"short": "a\x1f=b", "long": "c\x1ed"}
"""Characters that separate values and rows of the texts that are compared."""


Copied = tuple[PreparedFile, Database]
NOCASE = {"everything": "long", "otherproject_author": "name", "otherproject_tag": "name"}
"""Columns by table, which have a nondeterministic collation."""


@pytest.fixture(scope="module")
def copied(templates: Path, schema: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copied]:
    """A file and a verified copy of it, which `verify_after` leaves as it is."""
    file = Path(shutil.copy(templates / "library.db", tmp_path_factory.mktemp("copied")))
    support.alter(file, "DELETE FROM everything", "DELETE FROM otherproject_slot")
    support.put(file, "everything", {"id": 3, "long": "three"}, {"id": 4} | ROW, {"id": 5} | SEPARATORS)
    database = support.create(support.new_name(), schema)
    with support.prepared(file) as ready:
        support.copy_and_verify_into(ready, database)
        yield ready, database
    support.drop(database.name)


def difference_after(copied: Copied, change: str) -> str:
    """What the verification says after the `change`, and not before."""
    ready, database = copied
    with pytest.raises(VerificationFailed) as failure:
        support.verify_after(ready, database, change)
    return failure.value.message


def test_unchanged_copy_is_verified_again(copied: Copied) -> None:
    support.verify_after(*copied)


def test_equal_rows_are_compared_by_their_digest(copied: Copied, monkeypatch: pytest.MonkeyPatch) -> None:
    """Value by value takes many times as long. Here, rows with the characters that separate have to be."""
    compared = []
    monkeypatch.setattr(verify, "compare_rows", lambda source, *_: compared.append(source.table.name))
    support.verify_after(copied[0], copied[1])
    assert compared == ["everything"]


@pytest.mark.parametrize(
    ("column", "change", "difference"),
    [
        (
            "moment",
            "moment + '1 microsecond'",
            "'2026-01-31 23:59:59.123456+00' in the file, '2026-01-31 23:59:59.123457+00' in PostgreSQL",
        ),
        ("clock", "clock - '1 microsecond'::interval", "'23:59:59.000001' in the file, '23:59:59' in PostgreSQL"),
        ("day", "day + 1", "'2026-01-31' in the file, '2026-02-01' in PostgreSQL"),
        ("real", "0.10000000000000002", "0.1 in the file, 0.10000000000000002 in PostgreSQL"),
        ("money", "money + 0.01", "'12.34' in the file, '12.35' in PostgreSQL"),
        ("long", "long || ' '", "'a text' in the file, 'a text ' in PostgreSQL"),
        ("long", "replace(long, 'a', 'а')", "'a text' in the file, 'а text' in PostgreSQL"),
        ("short", "NULL", "'' in the file, NULL in PostgreSQL"),
        ("number", "0", "NULL in the file, '0' in PostgreSQL"),
        ("big", "big - 1", "'9007199254740993' in the file, '9007199254740992' in PostgreSQL"),
        ("flag", "NOT flag", "'1' in the file, '0' in PostgreSQL"),
        ("span", "span * 2", "'1' in the file, '2' in PostgreSQL"),
        ("code", "'00000000000000000000000000000002'", f"'{'0' * 31}1' in the file, '{'0' * 31}2' in PostgreSQL"),
        ("address", "'10.0.0.2'", "'10.0.0.1' in the file, '10.0.0.2' in PostgreSQL"),
        ("blob", "'\\x0001'::bytea || '\\x00'::bytea", "'0001' in the file, '000100' in PostgreSQL"),
        ("data", "jsonb_set(data, '{a,1,b}', '1.1000000000000001')", None),
        ("data", "jsonb_set(data, '{a,1,c}', '1')", None),
        ("data", "jsonb_set(data, '{a,0}', 'true')", None),
        ("data", "jsonb_set(data, '{e}', '1')", None),
        ("data", "data - 'd'", None),
        ("data", "jsonb_set(data, '{d}', '\"null\"')", None),
        ("data", "NULL", None),
    ],
)
def test_smallest_change_of_a_value_fails_verification(
    copied: Copied, column: str, change: str, difference: str | None
) -> None:
    message = difference_after(copied, f"UPDATE everything SET {column} = {change} WHERE id = 4")
    start = "everything: the contents in PostgreSQL and in the file differ:\n  row 4, column "
    assert message.startswith(f"{start}{column}: ")
    if difference:
        assert message == f"{start}{column}: {difference}"


@pytest.mark.parametrize(
    ("change", "differences"),
    [
        ("DELETE FROM everything WHERE id = 4", ["row 4 is not in PostgreSQL"]),
        ("INSERT INTO everything (id) VALUES (9)", ["row 9 is not in the file"]),
        ("INSERT INTO everything (id) VALUES (-9)", ["row -9 is not in the file"]),
        ("UPDATE everything SET id = 9 WHERE id = 4", ["row 4 is not in PostgreSQL", "row 9 is not in the file"]),
        (
            "UPDATE everything SET long = CASE id WHEN 3 THEN 'a text' ELSE 'three' END WHERE id < 5",
            [
                "row 3, column long: 'three' in the file, 'a text' in PostgreSQL",
                "row 4, column long: 'a text' in the file, 'three' in PostgreSQL",
            ],
        ),
    ],
)
def test_missing_added_and_swapped_rows_fail_verification(copied: Copied, change: str, differences: list[str]) -> None:
    listed = "\n  ".join(differences)
    words = f"everything: the contents in PostgreSQL and in the file differ:\n  {listed}"
    assert difference_after(copied, change) == words


def test_characters_that_separate_values_hide_no_difference(copied: Copied) -> None:
    moved = "UPDATE everything SET short = 'a', long = E'b\\x1f=c\\x1ed' WHERE id = 5"
    assert difference_after(copied, moved) == (
        "everything: the contents in PostgreSQL and in the file differ:\n"
        "  row 5, column short: 'a\\x1f=b' in the file, 'a' in PostgreSQL\n"
        "  row 5, column long: 'c\\x1ed' in the file, 'b\\x1f=c\\x1ed' in PostgreSQL"
    )


def test_second_row_with_a_key_fails_verification(copied: Copied) -> None:
    doubled = (
        "ALTER TABLE everything DROP CONSTRAINT everything_pkey",
        "INSERT INTO everything SELECT * FROM everything WHERE id = 4",
    )
    assert difference_after(copied, "; ".join(doubled)) == (
        "everything: the contents in PostgreSQL and in the file differ:\n  3 rows in the file, 4 in PostgreSQL"
    )


def test_rows_in_a_table_that_should_be_empty_fail_verification(copied: Copied) -> None:
    change = "INSERT INTO otherproject_slot (label, active, hidden) VALUES ('x', true, true)"
    assert re.search(r"^otherproject_slot: .*\n  row \d+ is not in the file$", difference_after(copied, change))


def test_values_of_secret_columns_are_not_shown(copied: Copied) -> None:
    assert difference_after(copied, "UPDATE accounts_user SET password = 'changed'") == (
        "accounts_user: the contents in PostgreSQL and in the file differ:\n"
        "  row 1, column password: (hidden) in the file, (hidden) in PostgreSQL"
    )


def test_nondeterministic_collations_are_verified(library: Path, migrated: Database) -> None:
    migrated.rows(
        "CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);"
        " DO $$ DECLARE name text; BEGIN FOR name IN SELECT indexname FROM pg_indexes WHERE indexname LIKE '%_like'"
        " LOOP EXECUTE format('DROP INDEX %I', name); END LOOP; END $$"
    )
    for table, column in NOCASE.items():
        migrated.rows(f"ALTER TABLE {table} ALTER {column} TYPE text COLLATE nocase")
    with support.prepared(library) as ready:
        support.copy_and_verify_into(ready, migrated)
        for table, column in NOCASE.items():
            message = difference_after((ready, migrated), f"UPDATE {table} SET {column} = {column} || ' '")
            assert message.startswith(f"{table}: the contents in PostgreSQL and in the file differ")


def test_failed_verification_drops_the_staging_database(
    library: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Loader.finish

    def finish_and_spoil(loader: Loader) -> None:
        real(loader)
        with loader.staging.session() as connection, connection.cursor() as cursor:
            cursor.execute("UPDATE otherproject_author SET name = name || '!' WHERE id = 2")

    monkeypatch.setattr(Loader, "finish", finish_and_spoil)
    outcome = support.run(library, database, "--yes", *support.only(library, *BOOKS))
    assert (outcome.code, outcome.error) == (
        1,
        (
            "otherproject_author: the contents in PostgreSQL and in the file differ:\n"
            "  row 2, column name: 'Author 1' in the file, 'Author 1!' in PostgreSQL"
        ),
    )
    assert outcome.document["status"] == "failed"
    assert database.tables() == []
    assert support.staging_databases(database.name) == []


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ('{"a": 1, "b": 2}', '{"b": 2, "a": 1}', True),
        ("1.10", "1.1", True),
        ("1e3", "1000", True),
        ("-0.0", "0", True),
        ("1", "true", False),
        ("0", "false", False),
        ("1", '"1"', False),
        ('"number 1"', "1", False),
        ("null", '"null"', False),
        ("1." + "0" * 40 + "1", "1." + "0" * 40 + "2", False),
        ("1" * 60, "1" * 59 + "2", False),
        ("[]", "{}", False),
        ("[1, 2]", "[2, 1]", False),
        ("[true, 1]", "[1, true]", False),
        ('"1.5"', "1.5", False),
        ("0.1000000000000000055", "0.1", False),
        (f"[1.{'0' * 18}12, 1.{'0' * 18}21]", f"[1.{'0' * 18}21, 1.{'0' * 18}12]", False),
        ('"\\u00e9\\/"', '"é/"', True),
        ("[" * 990 + "1e0" + "]" * 990, "[" * 990 + "1" + "]" * 990, True),
    ],
    ids=lambda value: f"{value:.30}" if isinstance(value, str) else None,
)
def test_json_is_compared_by_value(one: str, other: str, same: bool) -> None:
    assert same_json(one, other) is same
    assert same_documents(f'[{{"a": 1, "b": 2}},{one}]', f'[{{"b": 2, "a": 1}}, {other}]') is same


@pytest.mark.parametrize("text", ["é", "🖥️", "\x7f", r"\"é\\", r"\é", r"\\u00e9 é", '"é"', "\n\té", "plain"])
def test_json_is_escaped_as_python_escapes_it(text: str) -> None:
    document = {text: [text, {"": f"{text}\\"}]}
    assert escape_json(json.dumps(document, ensure_ascii=False)) == json.dumps(document)


def test_documents_of_two_lengths_differ() -> None:
    assert not same_documents("[1e0]", "[1, 1]")


def test_comparing_json_leaves_garbage_collection_as_it_was() -> None:
    assert gc.isenabled()
    same_json("1", "1")
    assert gc.isenabled()
    gc.disable()
    try:
        same_json("1", "1")
        assert not gc.isenabled()
    finally:
        gc.enable()
