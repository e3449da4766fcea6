"""No code of the project runs in a migration: it would write rows of its own, send mail, or change what is copied."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import models
from django.db.models import signals
from django.db.models.fields import Field

from tests.engine_migration import support
from tests.engine_migration.support import Database
from tests.otherproject.models import Everything

SIGNALS = {
    name: getattr(signals, name) for name in ("pre_save", "post_save", "pre_delete", "post_delete", "m2m_changed")
}
OLD = "1999-12-31 23:59:59.999999"


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What was called for models of the project: receivers of signals, `save`, and fields that set their own value."""
    called: list[str] = []

    def note(what: str, model: type[models.Model]) -> None:
        if model._meta.app_label in {"otherproject", "accounts", "inventory"}:
            called.append(f"{what} {model.__name__}")

    def receiver_of(name: str) -> Any:
        return lambda sender, **_details: note(name, sender)

    receivers = {name: receiver_of(name) for name in SIGNALS}
    for name, receiver in receivers.items():
        SIGNALS[name].connect(receiver)

    def noting(what: str, real: Any) -> Any:
        def method(self: Any, *arguments: Any, **options: Any) -> Any:
            note(what, type(arguments[0]) if isinstance(self, Field) else type(self))
            return real(self, *arguments, **options)

        return method

    for owner, name in ((models.Model, "save"), (models.Model, "delete"), (models.DateTimeField, "pre_save")):
        monkeypatch.setattr(owner, name, noting(name, getattr(owner, name)))
    yield called
    for name, receiver in receivers.items():
        SIGNALS[name].disconnect(receiver)


def test_migration_to_postgres_runs_no_code_of_the_project(library: Path, database: Database, ran: list[str]) -> None:
    support.alter(library, f"UPDATE everything SET touched = '{OLD}'")
    support.migrate(library, database)
    assert ran == []
    assert database.rows("SELECT DISTINCT touched::text FROM everything") == [(f"{OLD}+00",)]


def test_migration_to_sqlite_runs_no_code_of_the_project(lab: Database, new: Path, ran: list[str]) -> None:
    lab.rows(f"UPDATE everything SET touched = '{OLD}+00'")
    support.come_back(new, lab)
    assert ran == []
    with support.opened(new) as connection:
        assert connection.execute("SELECT DISTINCT touched FROM everything").fetchall() == [(OLD,)]


def test_code_of_the_project_would_be_noticed(moved: Database, ran: list[str]) -> None:
    Everything.objects.create().delete()
    assert {*ran} == {f"{what} Everything" for what in ("save", "delete", *SIGNALS)} - {"m2m_changed Everything"}
