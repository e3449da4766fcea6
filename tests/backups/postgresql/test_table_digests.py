"""The digests of tables change with every change of a value."""

import pytest

from tests.backups.postgresql import support
from tests.backups.postgresql.support import Database

PAIRS = [
    ("text", "''", "NULL"),
    ("text", "'a'", "'a '"),
    ("text", "'NULL'", "NULL"),
    ("char(3)", "'a'", "'b'"),
    ("bpchar", "'a'", "'a '"),
    ('"char"', "'a'", "'b'"),
    ("name", "'a'", "'b'"),
    ("boolean", "true", "NULL"),
    ("boolean", "true", "false"),
    ("smallint", "1", "2"),
    ("integer", "0", "NULL"),
    ("integer", "0", "-1"),
    ("bigint", "0", "-1"),
    ("bigint", "0", "4294967297"),
    ("uuid", "'00000000-0000-0000-0000-000000000000'", "'00000000-0000-0000-0000-000000000001'"),
    ("date", "'2024-01-01'", "'2024-01-02'"),
    ("date", "'infinity'", "'-infinity'"),
    ("time", "'12:00:00'", "'12:00:00.000001'"),
    ("numeric", "1.0", "1.00"),
    ("numeric", "'NaN'", "0"),
    ("double precision", "0", "'-0'"),
    ("double precision", "0.1", "0.10000000000000002"),
    ("real", "0.1", "0.10000001"),
    ("json", """'{"a": 1, "b": 2}'""", """'{"b": 2, "a": 1}'"""),
    ("jsonb", "'1.0'", "'1.00'"),
    ("jsonb", "'null'", "NULL"),
    ("bytea", r"'\x00'", r"'\x'"),
    ("timestamptz", "'2024-06-01 12:00:00.000001Z'", "'2024-06-01 12:00:00.000002Z'"),
    ("interval", "'1 mon'", "'30 days'"),
    ("inet", "'10.0.0.1/32'", "'10.0.0.1/31'"),
    ("xml", "'<a/>'", "'<a />'"),
    ("money", "1", "1.01"),
    ("text[]", "'{NULL}'", "'{\"NULL\"}'"),
    ("text[]", "'{}'", "NULL"),
    ("int4range", "'[1,3)'", "'[1,4)'"),
    ("point", "'(1, 2)'", "'(2, 1)'"),
    ("pair", "'(1,)'", "'(,1)'"),
    ("blank", "'a'", "'a '"),
    ("varchar COLLATE anycase", "'a'", "'A'"),
]
"""Types, each with two values that its digest distinguishes, although an operator of the type may not."""


def digest(database: Database) -> str:
    return support.tables_of(support.engine_of(database))["t"].digest


@pytest.fixture
def empty(lab: Database) -> Database:
    lab.rows(
        "CREATE TYPE pair AS (one int, two int); CREATE DOMAIN blank AS bpchar;"
        "CREATE COLLATION anycase (provider = icu, locale = 'und-u-ks-level2', deterministic = false)"
    )
    return lab


@pytest.mark.slow
def test_digest_differs_where_a_value_differs(empty: Database) -> None:
    def write(statement: str) -> dict[str, str]:
        """The digests after `statement` in the table of each pair."""
        numbered = enumerate(PAIRS)
        empty.rows(";".join(statement.format(t=f"t{n}", type=type_, one=a, other=b) for n, (type_, a, b) in numbered))
        found = support.tables_of(support.engine_of(empty))
        return {f"{pair}": found[f"t{n}"].digest for n, pair in enumerate(PAIRS)}

    before = write("CREATE TABLE {t} (x {type}, y int); INSERT INTO {t} VALUES ({one}, 1)")
    after = write("UPDATE {t} SET x = {other}")
    assert [pair for pair in before if after[pair] == before[pair]] == []
    assert write("UPDATE {t} SET x = {one}") == before


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param("(1, 'b', 'x'), (2, 'a', 'y')", id="swapped between rows"),
        pytest.param("(1, 'x', 'a'), (2, 'b', 'y')", id="swapped between columns"),
        pytest.param("(1, 'ax', ''), (2, 'b', 'y')", id="moved to the next column"),
        pytest.param("(1, 'a', 'x'), (1, 'a', 'x')", id="repeated"),
        pytest.param("(1, 'a', 'x')", id="missing"),
    ],
)
def test_digest_differs_where_values_are_in_another_place(lab: Database, rows: str) -> None:
    lab.rows("CREATE TABLE t (id int, one text, two text); INSERT INTO t VALUES (1, 'a', 'x'), (2, 'b', 'y')")
    before = digest(lab)
    lab.rows(f"TRUNCATE t; INSERT INTO t VALUES {rows}")
    assert digest(lab) != before


def test_digest_is_the_same_whatever_the_order_of_rows_and_a_dropped_column(lab: Database) -> None:
    lab.rows("CREATE TABLE t (id int, one text); INSERT INTO t VALUES (1, 'a'), (2, 'b')")
    before = digest(lab)
    lab.rows("DROP TABLE t; CREATE TABLE t (gone int, id int, one text); ALTER TABLE t DROP COLUMN gone")
    lab.rows("INSERT INTO t VALUES (2, 'b'), (1, 'a')")
    assert digest(lab) == before


def test_digest_of_a_table_with_the_most_columns(lab: Database) -> None:
    columns = [f'"%column {number} {"x" * 40}"' for number in range(1600)]
    lab.rows(f"CREATE TABLE t ({', '.join(f'{column} smallint' for column in columns)}); INSERT INTO t DEFAULT VALUES")
    before = digest(lab)
    lab.rows(f"UPDATE t SET {columns[-1]} = 1")
    assert digest(lab) != before
