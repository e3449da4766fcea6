"""The state that a file's migrations name: squashes resolved, closed under dependencies, targets that lead forward."""

from typing import Any

import pytest
from django.db.migrations.loader import MigrationLoader

from ops.backups.untrusted.schema import last_nodes, state_of
from ops.errors import ArtifactInvalid


class FakeMigration:
    def __init__(self, *replaces: str) -> None:
        self.replaces = [("app", name) for name in replaces]


def known(monkeypatch: pytest.MonkeyPatch, **migrations: FakeMigration) -> None:
    def load(loader: Any, *_: object, **__: object) -> None:
        loader.disk_migrations = {("app", name): migration for name, migration in migrations.items()}

    monkeypatch.setattr(MigrationLoader, "__init__", load)


def test_a_file_without_migrations_is_refused_with_the_way_to_go() -> None:
    with pytest.raises(ArtifactInvalid, match="has no table django_migrations") as refusal:
        state_of((), "old.sql")
    assert "migrate_to_postgres --sqlite-path FILE" in refusal.value.hint


@pytest.mark.parametrize(
    ("applied", "nodes", "replaces"),
    [
        (["a", "b"], ["squashed"], True),
        (["squashed"], ["squashed"], True),
        (["squashed", "a", "b", "c"], ["c", "squashed"], True),
        (["a"], ["a"], False),
        (["a", "b", "c"], ["c", "squashed"], True),
    ],
)
def test_squashed_migrations(
    monkeypatch: pytest.MonkeyPatch, applied: list[str], nodes: list[str], replaces: bool
) -> None:
    plain = FakeMigration()
    known(monkeypatch, a=plain, b=plain, squashed=FakeMigration("a", "b"), c=plain)
    state = state_of([f"app.{name}" for name in applied], "file")
    assert ([name for _, name in state.nodes], state.replaces) == (nodes, replaces)


def test_targets_are_the_last_of_each_app() -> None:
    """An earlier one as a target would roll later ones back."""
    loader = MigrationLoader(None)
    state = state_of([".".join(key) for key in loader.graph.nodes], "file")
    targets = last_nodes(loader, state)
    assert set(targets) == set(loader.graph.leaf_nodes())


def test_a_state_is_closed_under_dependencies() -> None:
    loader = MigrationLoader(None)
    targets = last_nodes(loader, state_of(["admin.0001_initial"], "file"))
    assert ("contenttypes", "0001_initial") in targets or ("contenttypes", "0002_remove_content_type_name") in targets
    assert "accounts" in {app for app, _ in targets}
