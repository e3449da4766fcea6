"""Databases and roles with settings of their own, and other encodings."""

from pathlib import Path

import pytest

from ops.databases.migration_state import run_migrations
from ops.databases.override import override_database, sqlite_wrapper
from tests.engine_migration import support
from tests.engine_migration.support import Database
from tests.engine_migration.to_sqlite.support import only
from tests.engine_migration.to_sqlite.test_round_trips import cells
from tests.otherproject.models import Everything
from tests.support.replayed_migrations import replaying
from tests.support.slow import slow_except


@pytest.mark.parametrize(
    "setting",
    slow_except(
        {
            "extra_float_digits": "extra_float_digits = 0",
            "datestyle": "datestyle = 'German'",
            "bytea_output": "bytea_output = 'escape'",
            "timezone": "timezone = 'Asia/Tokyo'",
            "intervalstyle": "intervalstyle = 'iso_8601'",
            "statement_timeout": "statement_timeout = '1ms'",
            "standard_conforming_strings": "standard_conforming_strings = off",
        },
        "extra_float_digits",
    ),
)
def test_settings_of_the_database_change_no_value(lab: Database, new: Path, setting: str) -> None:
    tables = ["everything", "otherproject_byspan", "otherproject_byreal", "otherproject_bymoment"]
    expected = support.come_back(new, lab, *only(lab, tables)) and cells(new)
    words = ["--yes", *only(lab, tables)]
    lab.rows(f"ALTER DATABASE {lab.name} SET {setting}")
    outcome = support.back(new.with_name("other.db"), lab, *words)
    if "extra_float_digits" in setting or "intervalstyle" in setting:
        # Django would read other values from PostgreSQL than from the file.
        assert outcome.code == 1
        assert f"ALTER ROLE homerack SET {setting.split(maxsplit=1)[0]} = " in outcome.error, outcome
    else:
        assert outcome.code == 0, outcome
        assert cells(new.with_name("other.db")) == expected


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_text_in_another_encoding_is_migrated_or_refused(new: Path, statements_of_migrate: Path, encoding: str) -> None:
    name = support.new_name()
    support.server().rows(
        f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C' STRATEGY FILE_COPY"
    )
    try:
        other = support.database_named(name)
        with override_database(other.address.wrapper()):
            replaying(run_migrations, statements_of_migrate)()
        letter = r"E'\xc3\xa4'" if encoding == "SQL_ASCII" else "'ä'"
        other.rows(f"INSERT INTO everything (id, long) VALUES (1, {letter})")
        support.come_back(new, other, *only(other, ["everything"]))
        with override_database(sqlite_wrapper(str(new))):
            assert Everything.objects.get().long == "ä"
        if encoding == "SQL_ASCII":
            other.rows("INSERT INTO everything (id, long) VALUES (2, E'\\xff')")
            outcome = support.back(new.with_name("other.db"), other, "--yes", *only(other, ["everything"]))
            assert outcome.code == 1, outcome
            assert "everything" in outcome.error
    finally:
        support.drop(name)
