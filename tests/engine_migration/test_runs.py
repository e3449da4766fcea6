"""A migration is a run like the rest: recorded, and alone on the database of the project."""

from pathlib import Path
from typing import Any

import pytest
from django.db.backends.base.base import BaseDatabaseWrapper

from ops import operations
from ops.databases.override import new_wrapper, override_database
from ops.runs.context import get_context
from tests.engine_migration import support
from tests.engine_migration.conftest import settings_with
from tests.engine_migration.support import BOOKS, Database, Migration


def test_a_migration_is_recorded_next_to_the_backups(migration: Migration, settings: Any) -> None:
    for name, value in settings_with(migration.backups).items():
        setattr(settings, name, value)
    repository, target = get_context().repository, str(migration.target.address)
    events = repository.events(migration.outcome.document["run"])
    assert [event["event"] for event in events] == ["started", "claimed", "claimed", "replaced", "ended"]
    assert {event.get("target") for event in events[1:3]} == {target}
    assert (events[-1]["kind"], events[-1]["status"]) == ("migration", "succeeded")
    assert events[-1]["result"]["target"] == target
    assert f"Migrating {migration.library} to {target}." in events[-1]["log"]
    assert repository.unended_events() == []


def test_migration_during_another_operation_names_its_holder_and_exits_with_4(
    library: Path, database: Database
) -> None:
    with get_context().engine.locked("backup by jane"):
        outcome = support.run(library, database, "--yes")
    assert outcome.code == 4
    assert "backup by jane" in outcome.error
    assert database.tables() == []


def entry(database: Database, **written: Any) -> BaseDatabaseWrapper:
    """The database as an entry of DATABASES."""
    address = database.address
    parts = {"HOST": address.host, "PORT": address.port, "USER": address.user, "PASSWORD": address.password}
    return new_wrapper("django.db.backends.postgresql", **{"NAME": database.name, **parts, **written})


@pytest.mark.parametrize(
    "written",
    [{}, {"HOST": "localhost"}, {"OPTIONS": {"application_name": "homerack", "connect_timeout": 5}}],
    ids=["alike", "another host name", "other options"],
)
def test_live_database_is_recognised_as_the_target(database: Database, written: dict[str, Any]) -> None:
    with override_database(entry(database, **written)):
        assert operations.is_live(get_context(), database.address)


def test_other_databases_than_the_target_are_not_taken_for_it(database: Database, nowhere: Database) -> None:
    assert not operations.is_live(get_context(), nowhere.address)
    with override_database(entry(database)):
        assert not operations.is_live(get_context(), nowhere.address)


def test_live_database_can_be_the_target(library: Path, database: Database) -> None:
    """The run holds its lock already."""
    only = support.only(library, *BOOKS)
    with override_database(entry(database, HOST="localhost")):
        for command in ("--dry-run", "--yes"):
            outcome = support.run(library, database, command, *only)
            assert (outcome.code, outcome.error) == (0, "")
