"""A migration is a run like the rest: recorded, and alone on the database of the project."""

from pathlib import Path
from typing import Any

import pytest

from ops.databases.override import new_wrapper, override_database
from ops.runs.context import get_context
from tests.engine_migration import support
from tests.engine_migration.support import Database


def test_a_migration_is_recorded_next_to_the_backups(library: Path, database: Database) -> None:
    document = support.migrate(library, database).document
    events = get_context().repository.events(document["run"])
    assert [event["event"] for event in events] == ["started", "claimed", "claimed", "ended"]
    assert {event.get("target") for event in events[1:3]} == {str(database.address)}
    assert (events[-1]["kind"], events[-1]["status"]) == ("migration", "succeeded")
    assert events[-1]["result"]["target"] == str(database.address)
    assert f"Migrating {library} to {database.address}." in events[-1]["log"]
    assert get_context().repository.unended_events() == []


def test_migration_during_another_operation_names_its_holder_and_exits_with_4(
    library: Path, database: Database
) -> None:
    with get_context().engine.locked("backup by jane"):
        outcome = support.run(library, database, "--yes")
    assert outcome.code == 4
    assert "backup by jane" in outcome.error
    assert database.tables() == []


@pytest.mark.parametrize(
    "written",
    [{}, {"HOST": "localhost"}, {"OPTIONS": {"application_name": "homerack", "connect_timeout": 5}}],
    ids=["alike", "another host name", "other options"],
)
def test_live_database_can_be_the_target(library: Path, database: Database, written: dict[str, Any]) -> None:
    address = database.address
    entry = {
        "NAME": database.name,
        "HOST": address.host,
        "PORT": address.port,
        "USER": address.user,
        "PASSWORD": address.password,
        **written,
    }
    with override_database(new_wrapper("django.db.backends.postgresql", **entry)):
        for command in ("--dry-run", "--yes"):
            outcome = support.run(library, database, command)
            assert (outcome.code, outcome.error) == (0, "")
