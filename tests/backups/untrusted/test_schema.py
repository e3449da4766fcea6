"""The migration state of a file: squashed migrations, dependencies and targets."""

import pytest
from django.db.migrations import Migration
from django.db.migrations.graph import MigrationGraph
from django.db.migrations.loader import MigrationLoader

from ops.backups.untrusted.schema import last_nodes
from ops.databases import migration_state
from ops.databases.migration_state import migration_skew, require_known, require_recorded, state_of
from ops.errors import ArtifactInvalid, PreconditionFailed


def know(monkeypatch: pytest.MonkeyPatch, *names: str, replaces: dict[str, tuple[str, ...]]) -> None:
    """Let the code have these migrations of one app."""
    code = MigrationLoader(None, load=False)
    code.disk_migrations = {("app", name): Migration(name, "app") for name in (*names, *replaces)}
    for name, replaced in replaces.items():
        code.disk_migrations["app", name].replaces = [("app", one) for one in replaced]
    code.graph, code.migrated_apps = MigrationGraph(), {"app"}
    for key, migration in code.disk_migrations.items():
        code.graph.add_node(key, migration)
    monkeypatch.setattr(migration_state, "migrations_in_code", lambda: code)


def test_state_of_a_file_without_migrations_is_refused_with_the_next_command() -> None:
    with pytest.raises(ArtifactInvalid, match="has no table django_migrations") as refusal:
        state_of((), "old.sql")
    assert "migrate_to_postgres --sqlite-path FILE" in refusal.value.hint


@pytest.mark.parametrize(
    ("rows", "found"), [({"lab": 3}, "no table"), ({"django_migrations": 0}, "an empty table"), ({}, "no table")]
)
def test_require_recorded_refuses_rows_without_migrations(rows: dict[str, int], found: str) -> None:
    with pytest.raises(ArtifactInvalid) as refusal:
        require_recorded(rows, "old.db", "Nothing was kept.")
    message = f"old.db has {found} django_migrations: it is not a database of this site. Nothing was kept."
    assert refusal.value.message == message
    assert refusal.value.hint
    require_recorded({"django_migrations": 1}, "old.db", "")


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


@pytest.mark.parametrize(
    ("files", "applied", "pending"),
    [
        ("0001_squashed_0003_c 0004_d", "0001_a 0002_b 0003_c 0001_squashed_0003_c 0004_d", ""),
        ("0001_a 0002_squashed_0003_c", "0001_a 0002_b 0003_c 0002_squashed_0003_c", ""),
        ("0001_all", "0001_a 0002_b 0001_squashed_0002_b 0003_c 0004_d 0001_all", ""),
        ("0001_squashed_0002_b 0003_c", "0001_a 0002_b 0001_squashed_0002_b", "0003_c"),
        ("0001_squashed_0002_b", "0001_squashed_0002_b", ""),
    ],
)
def test_replaced_migrations_whose_files_were_deleted_are_not_those_of_a_newer_version(
    monkeypatch: pytest.MonkeyPatch, files: str, applied: str, pending: str
) -> None:
    """Without `replaces`, as Django's manual says, in the order in which Django records them."""
    know(monkeypatch, *files.split(), replaces={})
    recorded = [f"app.{name}" for name in applied.split()]
    assert require_known(recorded, "file") == tuple(f"app.{name}" for name in pending.split())
    assert {name for _, name in state_of(recorded, "file").nodes} == set(applied.split()) & set(files.split())


@pytest.mark.parametrize(
    ("files", "applied", "unknown"),
    [
        ("0001_a", "0001_a 0002_b", "0002_b"),
        ("0001_a 0002_b", "0001_a 0002_b 0003_c 0001_squashed_0003_c", "0001_squashed_0003_c 0003_c"),
        ("0001_squashed_0002_b", "0001_a 0002_b 0001_squashed_0002_b 0003_c", "0003_c"),
    ],
)
def test_migrations_after_the_last_known_one_are_those_of_a_newer_version(
    monkeypatch: pytest.MonkeyPatch, files: str, applied: str, unknown: str
) -> None:
    know(monkeypatch, *files.split(), replaces={})
    recorded = [f"app.{name}" for name in applied.split()]
    assert migration_skew(recorded).unknown == tuple(f"app.{name}" for name in unknown.split())
    with pytest.raises(PreconditionFailed, match="was written by a newer version"):
        require_known(recorded, "file")


def test_file_from_before_a_squash_is_refused_with_both_names(monkeypatch: pytest.MonkeyPatch) -> None:
    know(monkeypatch, "0001_squashed_0002_b", replaces={})
    with pytest.raises(PreconditionFailed) as refused:
        require_known(["other.0001_a", "app.0001_a", "app.0002_b"], "file")
    assert str(refused.value) == (
        "file records app.0001_a and 1 more, and this code has app.0001_squashed_0002_b instead. Nothing was changed.\n"
        "Migrations of app were squashed, and the replaced files deleted. Use a version of the code that has both, and"
        " run manage.py migrate with it first."
    )
