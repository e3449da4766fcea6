"""The migration state of a file: squashed migrations, dependencies and targets."""

import pytest
from django.db.migrations import Migration
from django.db.migrations.loader import MigrationLoader

from ops.backups.untrusted.schema import last_nodes
from ops.databases import migration_state
from ops.databases.migration_state import state_of
from ops.errors import ArtifactInvalid


def know(monkeypatch: pytest.MonkeyPatch, *names: str, replaces: dict[str, tuple[str, ...]]) -> None:
    """Let the code have these migrations of one app."""
    code = MigrationLoader(None, load=False)
    code.disk_migrations = {("app", name): Migration(name, "app") for name in (*names, *replaces)}
    for name, replaced in replaces.items():
        code.disk_migrations["app", name].replaces = [("app", one) for one in replaced]
    monkeypatch.setattr(migration_state, "migrations_in_code", lambda: code)


def test_state_of_a_file_without_migrations_is_refused_with_the_next_command() -> None:
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
def test_state_with_squashed_migrations_has_them_or_what_they_replace(
    monkeypatch: pytest.MonkeyPatch, applied: list[str], nodes: list[str], replaces: bool
) -> None:
    know(monkeypatch, "a", "b", "c", replaces={"squashed": ("a", "b")})
    state = state_of([f"app.{name}" for name in applied], "file")
    assert ([name for _, name in state.nodes], state.replaces) == (nodes, replaces)


def test_last_nodes_are_the_last_of_each_app() -> None:
    """An earlier target would roll migrations back."""
    loader = MigrationLoader(None)
    state = state_of([".".join(key) for key in loader.graph.nodes], "file")
    targets = last_nodes(loader, state)
    assert set(targets) == set(loader.graph.leaf_nodes())


def test_last_nodes_include_those_of_dependencies() -> None:
    loader = MigrationLoader(None)
    targets = last_nodes(loader, state_of(["admin.0001_initial"], "file"))
    assert ("contenttypes", "0001_initial") in targets or ("contenttypes", "0002_remove_content_type_name") in targets
    assert "accounts" in {app for app, _ in targets}
