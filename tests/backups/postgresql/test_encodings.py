"""Databases of other encodings than UTF-8, and their backups in databases of UTF-8."""

from collections.abc import Callable, Iterator

import pytest

from ops.backups.manifest import Kind
from ops.databases.postgres.connection import parse_url
from ops.errors import ArtifactInvalid, PreconditionFailed
from ops.utils.progress import no_progress
from tests.backups.postgresql import support
from tests.backups.postgresql.support import Database

TEXTS = {
    "LATIN1": "Zähler ½ «à l'étage»",
    "LATIN9": "5 € für Œuvres",
    "WIN1252": "„Schrank“ – 5 €",
    "WIN1251": "Стойка №1",
    "KOI8R": "Стойка",
    "EUC_JP": "ラック、棚",
    "EUC_KR": "랙",
    "SQL_ASCII": "Zähler €",
}
"""Encodings of a server, each with a text that it can store."""
ORDINARY = ("LATIN1", "WIN1252", "EUC_JP", "SQL_ASCII")
Make = Callable[[str], Database]


@pytest.fixture
def make() -> Iterator[Make]:
    """Creates a database with the encoding, in place of the one that was created before."""
    name = support.new_name()

    def make(encoding: str) -> Database:
        support.drop(name)
        support.server().rows(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING {encoding} LOCALE 'C'")
        url = f"{support.database_named(name).url}?client_encoding=utf8"
        return Database(address=parse_url(url), url=url)

    yield make
    support.drop(name)


def fill(database: Database, text: str) -> None:
    database.rows(
        "CREATE TABLE t (id int PRIMARY KEY, x text, more text[]); CREATE TABLE empty (x text);"
        "INSERT INTO t VALUES (1, %(text)s, ARRAY[%(text)s, NULL, '\"']), (2, '', NULL), (3, 'plain', '{}')",
        {"text": text},
    )


@pytest.mark.parametrize(
    ("encoding", "target"),
    [
        *((encoding, "UTF8") for encoding in ORDINARY),
        ("EUC_JP", "the same"),
        *(pytest.param(encoding, "UTF8", marks=pytest.mark.slow) for encoding in TEXTS if encoding not in ORDINARY),
        *(pytest.param(encoding, "the same", marks=pytest.mark.slow) for encoding in TEXTS if encoding != "EUC_JP"),
    ],
)
def test_backup_is_restored_into_the_same_encoding_and_into_utf8(make: Make, encoding: str, target: str) -> None:
    """A new cluster has UTF-8, whatever the old one had."""
    source = make(encoding)
    fill(source, TEXTS[encoding])
    dump, tables = support.dump_of(support.engine_of(source))
    database = make(encoding if target == "the same" else target)
    engine = support.engine_of(database)
    assert support.restore(engine, dump) == tables
    assert database.value("SHOW server_encoding") == (encoding if target == "the same" else target)
    assert database.value("SELECT more[1] FROM t WHERE x = %s", [TEXTS[encoding]]) == TEXTS[encoding]


@pytest.mark.parametrize("value", [b"Z\xe4hler", b"\xff", b"\xc3"])
def test_bytes_that_are_no_text_in_utf8_are_named(make: Make, value: bytes) -> None:
    """A database of the encoding SQL_ASCII accepts them, and no other encoding can hold them."""
    database = make("SQL_ASCII")
    database.rows("CREATE TABLE t (x text)")
    database.rows("INSERT INTO t VALUES (convert_from(%s, 'SQL_ASCII'))", [value])
    with support.engine_of(database).snapshot(kind=Kind.SQL) as snapshot:
        with pytest.raises(
            PreconditionFailed, match="is not in UTF-8, as backups are: invalid byte sequence"
        ) as refused:
            snapshot.tables()
        with pytest.raises(PreconditionFailed, match="is not in UTF-8"):
            list(snapshot.stream(no_progress))
    statement = refused.value.hint.partition("LATIN1: ")[2]
    database.rows(statement.replace("…", "t").replace("name", "x"))
    support.dump_of(support.engine_of(database))
    assert database.value("SELECT x FROM t") == value.decode("latin1")


@pytest.mark.parametrize("encoding", ["LATIN1", "EUC_JP", "UTF8"])
def test_digest_differs_where_one_character_differs(make: Make, encoding: str) -> None:
    database = make(encoding)
    fill(database, "plain text")
    before = support.tables_of(support.engine_of(database))
    database.rows("UPDATE t SET x = 'plain texT' WHERE id = 1")
    after = support.tables_of(support.engine_of(database))
    assert before["t"] != after["t"]
    assert before["empty"] == after["empty"]


@pytest.mark.parametrize(
    "encoding", ["LATIN1", *(pytest.param(name, marks=pytest.mark.slow) for name in ("WIN1251", "EUC_KR"))]
)
def test_character_that_the_database_cannot_store_is_no_fault_of_the_backup(make: Make, encoding: str) -> None:
    source = make("UTF8")
    fill(source, "🗄 ラック")
    dump, _ = support.dump_of(support.engine_of(source))
    database = make(encoding)
    with pytest.raises(PreconditionFailed) as refused:
        support.restore_test(support.engine_of(database), dump)
    assert not isinstance(refused.value, ArtifactInvalid)
    assert refused.value.message.startswith("The database cannot store a character of the dump: character with byte")
    assert f'has no equivalent in encoding "{encoding}" (at: the rows of t). Nothing was changed.' in str(refused.value)
    assert "ENCODING 'UTF8'" in refused.value.hint
