"""How the migrations of a database stand to those of the code."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from django.core.management import call_command
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from ops.errors import PreconditionFailed

Key = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class MigrationSkew:
    """How the migrations of a database differ from the code's, as ``app.name``."""

    pending: tuple[str, ...]
    """In the code, not applied."""
    unknown: tuple[str, ...]
    """Applied, but not in the code, though their app is: the database is newer."""


def run_migrations() -> None:
    """``migrate`` on what "default" is for this thread."""
    call_command("migrate", database="default", interactive=False, verbosity=0, skip_checks=True)


def applied_migrations(wrapper: BaseDatabaseWrapper) -> tuple[str, ...]:
    """``app.name`` of the migrations recorded in the database, in the order they were applied.

    By SQL: Django's recorder would look for a connection by its alias, which one outside of ``connections`` lacks.
    """
    if not MigrationRecorder(wrapper).has_table():
        return ()
    quote = wrapper.ops.quote_name
    columns, table = f"{quote('app')}, {quote('name')}", quote(MigrationRecorder.Migration._meta.db_table)
    with wrapper.cursor() as cursor:
        cursor.execute(f"SELECT {columns} FROM {table} ORDER BY {quote('id')}")
        return tuple(f"{app}.{name}" for app, name in cursor.fetchall())


def migration_skew(applied: Iterable[str]) -> MigrationSkew:
    """Compare `applied` (``app.name``) with the migrations of the installed apps. Needs no database."""
    code = _migrations_in_code()
    there = {(app, name) for app, _, name in (key.partition(".") for key in applied)}
    # A squashed migration counts as applied when all that it replaces is (Django's loader does the same).
    there |= {key for key, replaces in code.replaces.items() if set(replaces) <= there}
    known = code.nodes | code.replaces.keys() | {key for replaces in code.replaces.values() for key in replaces}
    return MigrationSkew(
        pending=tuple(".".join(key) for key in sorted(code.nodes) if key not in there),
        unknown=tuple(".".join(key) for key in sorted(there) if key not in known and key[0] in code.apps),
    )


def require_known(applied: Sequence[str], name: str) -> tuple[str, ...]:
    """The code's migrations that `applied` lacks. Raises PreconditionFailed when it has some that the code has not."""
    skew = migration_skew(applied)
    if skew.unknown:
        raise PreconditionFailed(
            f"{name} was written by a newer version: this code does not know {summarize(skew.unknown)}."
            " Nothing was changed.",
            "Upgrade the code to the version that wrote it, and run the command again.",
        )
    return skew.pending


def summarize(migrations: tuple[str, ...]) -> str:
    """The first of them and how many more there are, for a sentence."""
    return f"{migrations[0]} and {len(migrations) - 1} more" if len(migrations) > 1 else migrations[0]


@dataclass(frozen=True, kw_only=True)
class _Code:
    nodes: frozenset[Key]
    replaces: dict[Key, tuple[Key, ...]]
    """By the squashed migration."""
    apps: frozenset[str]


@cache
def _migrations_in_code() -> _Code:
    """Read once: code does not change under a running process."""
    loader = MigrationLoader(None)
    replaces = {key: tuple(migration.replaces) for key, migration in loader.disk_migrations.items()}
    return _Code(
        nodes=frozenset(loader.graph.nodes),
        replaces={key: found for key, found in replaces.items() if found},
        apps=frozenset(loader.migrated_apps),
    )
