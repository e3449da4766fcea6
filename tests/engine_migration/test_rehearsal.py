"""The dry run is the migration without its cut-over: it finds what the migration would, and leaves nothing behind."""

import re
import signal
from pathlib import Path
from typing import Any

import pytest

from ops import operations
from ops.databases.leftovers import Claims
from ops.databases.override import override_database, sqlite_wrapper
from ops.databases.postgres import databases
from ops.engine_migration.to_postgres.target import NEW_SUFFIX
from ops.errors import PreconditionFailed
from ops.runs.context import get_context
from ops.runs.descriptions import describe
from ops.runs.results import PreflightResult
from ops.utils.progress import Progress, Stage
from tests.engine_migration import support
from tests.engine_migration.support import BOOKS, Database
from tests.engine_migration.test_interruptions import start_and_stop_at
from tests.support.slow import slow_except

OID = "SELECT oid FROM pg_database WHERE datname = current_database()"


def dry_run(path: Path, database: Database) -> support.Outcome:
    return support.run(path, database, "--dry-run", *support.only(path, *BOOKS))


def test_dry_run_loads_and_verifies_in_a_scratch_database_and_is_recorded(library: Path, database: Database) -> None:
    before = database.value(OID)
    outcome = dry_run(library, database)
    assert (outcome.code, outcome.error) == (0, "")
    for stage in ("snapshot", "preflight", "schema", "copy", "build", "verify"):
        assert f"✓ {stage} " in outcome.out
    assert "cut-over" not in outcome.out
    assert re.search(
        r"Dry run: the rows are loaded into a scratch database that is dropped\. It takes as long as the migration, and"
        r" needs its space on the server: about \d+\.\d MB\.",
        outcome.out,
    )
    assert (database.value(OID), database.tables()) == (before, [])
    assert support.staging_databases(database.name) == []
    events = get_context().repository.events(outcome.document["run"])
    assert [event["event"] for event in events] == ["started", "claimed", "claimed", "ended"]
    assert (events[-1]["kind"], events[-1]["status"]) == ("preflight", "succeeded")
    assert events[-1]["result"]["acceptable"] is True
    assert get_context().repository.unended_events() == []


@pytest.mark.parametrize("stage", [Stage.COPY, pytest.param(Stage.VERIFY, marks=pytest.mark.slow)])
def test_scratch_database_of_a_killed_dry_run_is_dropped_by_the_next(
    library: Path, database: Database, stage: Stage
) -> None:
    process = start_and_stop_at(stage, library, database, "--dry-run", *support.only(library, *BOOKS))
    support.finish(process, signal.SIGKILL)
    assert support.staging_databases(database.name) == [databases.suffixed_name(database.name, NEW_SUFFIX)]
    assert dry_run(library, database).code == 0
    assert support.staging_databases(database.name) == []
    assert database.tables() == []


def test_dry_run_during_another_operation_exits_with_4(library: Path, database: Database) -> None:
    with get_context().engine.locked("backup by jane"):
        outcome = dry_run(library, database)
    assert outcome.code == 4
    assert "backup by jane" in outcome.error


@pytest.mark.parametrize("exists", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_dry_run_with_a_migrated_or_missing_target(
    library: Path, migrated: Database, nowhere: Database, exists: bool
) -> None:
    target = migrated if exists else nowhere
    before = migrated.rows("SELECT count(*), max(id) FROM auth_permission")
    assert dry_run(library, target).code == 0
    assert migrated.rows("SELECT count(*), max(id) FROM auth_permission") == before
    found = support.server().rows("SELECT 1 FROM pg_database WHERE datname = %s", [nowhere.name])
    assert found == []


def test_dry_run_without_createdb_rolls_one_transaction_back_and_says_what_it_did_not_try(
    library: Path, small: Database, database: Database
) -> None:
    outcome = dry_run(library, small)
    sentence = (
        "The role may not create databases, so everything was tried in one transaction of the target, which was rolled"
        " back. Not tried: its commit."
    )
    assert (outcome.code, outcome.error) == (0, "")
    assert "the rows are loaded into one transaction that is rolled back." in outcome.out
    assert sentence in outcome.out
    assert outcome.document["not_tried"] == sentence
    assert database.tables() == []
    support.migrate(library, small, *support.only(library, *BOOKS))
    assert database.value("SELECT count(*) FROM otherproject_book") == 5


BROKEN = {
    "schema": ("CREATE TABLE broken (a nonsense)", r'PostgreSQL ended the migration: type "nonsense" does not exist\.'),
    "missing table": ("DROP TABLE otherproject_byday", r"create no table otherproject_byday in PostgreSQL"),
    "missing column": ("ALTER TABLE everything DROP short", r"the table everything has no column short"),
    "further column": (
        "ALTER TABLE everything ADD extra text NOT NULL",
        r"the table everything has the column extra, which must not be NULL and which the file does not have\.",
    ),
    "changed value": (
        "ALTER TABLE everything ALTER short TYPE char(19) USING short::text",
        r"other values of otherproject\.Everything from PostgreSQL than from the file:\n  row \d+, short: ",
    ),
    "view": (
        "CREATE MATERIALIZED VIEW odd AS SELECT 1 / (SELECT count(*) - 5 FROM otherproject_book)",
        r"The materialized view odd could not be refreshed: division by zero\.",
    ),
}


@pytest.mark.parametrize(("statement", "message"), slow_except(BROKEN, "further column"))
def test_dry_run_fails_as_the_migration_does(
    library: Path, database: Database, monkeypatch: pytest.MonkeyPatch, statement: str, message: str
) -> None:
    support.add_migration(monkeypatch, statement)
    only = support.only(library, "everything", "otherproject_byday", *BOOKS)
    outcomes = [support.run(library, database, option, *only) for option in ("--dry-run", "--yes")]
    assert [outcome.code for outcome in outcomes] == [1, 1]
    assert outcomes[0].error == outcomes[1].error
    assert re.search(message, outcomes[0].error)
    assert database.tables() == []
    assert support.staging_databases(database.name) == []


# --- From the admin -----------------------------------------------------------------------------------------
class Recorder(Claims):
    """What the operation reports to, without a row in the database."""

    def report(self, progress: Progress) -> None:
        """Nobody watches."""


@pytest.fixture
def live(library: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The library as the live database."""
    monkeypatch.setitem(settings.DATABASES["default"], "NAME", str(library))
    return library


def check(library: Path) -> PreflightResult:
    """The preflight of the admin."""
    with override_database(sqlite_wrapper(str(library))):
        result = operations.preflight.function(get_context(), Recorder())  # type: ignore[arg-type]
    assert isinstance(result, PreflightResult)
    return result


def test_preflight_without_a_server_says_what_it_did_not_try(live: Path, settings: Any) -> None:
    settings.POSTGRES_URL = ""
    result = check(live)
    assert result.acceptable
    assert describe(result)[1] == (
        "Not tried: the schema, its constraints and the load in PostgreSQL, because POSTGRES_URL is not set. They are"
        " tried by manage.py migrate_to_postgres --dry-run."
    )


def test_preflight_with_a_server_is_a_dry_run(
    live: Path, database: Database, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.POSTGRES_URL = database.url
    support.add_migration(monkeypatch, "ALTER TABLE otherproject_author ADD CONSTRAINT odd CHECK (id <> 2)")
    result = check(live)
    assert (result.acceptable, result.not_tried) == (False, "")
    assert [(group.table, group.keys, group.reason) for group in result.groups] == [
        ("otherproject_author", ("2",), "violates the check constraint odd")
    ]
    assert describe(result) == ["PostgreSQL would refuse or change 1 value."]
    assert database.tables() == []
    assert support.staging_databases(database.name) == []


@pytest.mark.slow
def test_preflight_with_a_role_without_createdb_says_what_it_did_not_try(
    live: Path, small: Database, settings: Any
) -> None:
    settings.POSTGRES_URL = small.url
    assert describe(check(live))[1].endswith("which was rolled back. Not tried: its commit.")


def test_preflight_without_an_answer_of_the_server_fails_with_a_message(live: Path, settings: Any) -> None:
    settings.POSTGRES_URL = "postgres://nobody@127.0.0.1:1/nothing"
    with pytest.raises(PreconditionFailed, match="No connection to the database nothing"):
        check(live)
