"""Migrations: run on a database, and those of a database compared with the code's."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from django.apps import apps
from django.core.management import call_command, get_commands, load_command_class
from django.db import Error as DatabaseError
from django.db import OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from ops.errors import ArtifactInvalid, OpsError, PreconditionFailed
from ops.utils.formatting import join_names

MigrationKey = tuple[str, str]
"""App and name."""
MIGRATIONS_TABLE = "django_migrations"
LEGACY_HINT = (
    "If the program that wrote it keeps its data in a SQLite file, migrate that file: manage.py migrate_to_postgres"
    " --sqlite-path FILE. Load any other dump by hand into a database of its own."
)
Cursor = Any
"""A cursor of PEP 249."""


@dataclass(frozen=True, kw_only=True)
class MigrationSkew:
    """How the migrations of a database differ from the code's, as ``app.name``."""

    pending: tuple[str, ...]
    """In the code, not applied."""
    unknown: tuple[str, ...]
    """Applied, but not in the code, though their app is: the database is newer, or see `unrelated`."""
    unrelated: tuple[str, ...]
    """Apps of which all applied migrations are `unknown`: they were squashed, and the replaced files deleted."""


@dataclass(frozen=True, kw_only=True)
class MigrationState:
    """Nodes of the code's migration graph. `replaces`: squashed migrations stand for what they replace."""

    nodes: tuple[MigrationKey, ...]
    replaces: bool


def run_migrations() -> None:
    """Run ``migrate`` on "default" of this thread, and create the tables of apps without migrations.

    Raises OpsError with the name of the migration that fails, whatever its code raises.
    """
    import_migrations_again()
    command: Any = load_command_class(get_commands()["migrate"], "migrate")
    begun: list[Any] = [None]

    def note(action: str, migration: Any = None, *_: Any) -> None:
        if action in {"apply_start", "apply_success"}:
            begun.append(migration if action == "apply_start" else None)

    command.migration_progress_callback = note
    try:
        call_command(command, database="default", interactive=False, verbosity=0, skip_checks=True, run_syncdb=True)
    except (Exception, SystemExit) as error:
        raise failure_of(begun[-1], error) from error


def failure_of(migration: Any, error: BaseException) -> OpsError:
    """`error` as a sentence. `migration` is None between migrations, when tables or permissions are created."""
    server = connections["default"].display_name
    what = f"The migration {migration}" if migration else "The command migrate"
    kind, text = type(error).__name__, " ".join(str(error).split()).rstrip(".")
    reason = ": ".join(filter(None, [kind, text]))
    if isinstance(error, DatabaseError) and text:
        # The server's message; its other lines show the statement.
        reason = str(error).strip().splitlines()[0].rstrip(".")
    hint = f"Let the code do what {server} can do: connection.vendor of the schema editor says which kind it is."
    if isinstance(error, OperationalError):
        hint = "Run the command again. If it fails again, read the server's log."
    return OpsError(f"{what} failed in {server}: {reason}. No database in use was changed.", hint)


def import_migrations_again() -> None:
    """Forget the modules of all migrations: some ask when they are imported what kind of database "default" is."""
    names = [MigrationLoader.migrations_module(config.label)[0] for config in apps.get_app_configs()]
    packages = tuple(f"{name}." for name in names if name)
    for name in [name for name in sys.modules if name.startswith(packages)]:
        del sys.modules[name]


def applied_migrations(wrapper: BaseDatabaseWrapper) -> tuple[str, ...]:
    """``app.name`` of the migrations recorded in the database, in the order they were applied.

    By SQL: Django's recorder would look for a connection by its alias, which one outside of ``connections`` lacks.
    """
    if not MigrationRecorder(wrapper).has_table():
        return ()
    with wrapper.cursor() as cursor:
        return recorded_migrations(cursor)


def recorded_migrations(cursor: Cursor) -> tuple[str, ...]:
    """As `applied_migrations`, with a cursor of any driver on a database that has the table."""
    cursor.execute(f"SELECT app, name FROM {MIGRATIONS_TABLE} ORDER BY id")
    return tuple(f"{app}.{name}" for app, name in cursor.fetchall())


def migration_skew(applied: Sequence[str]) -> MigrationSkew:
    """Compare `applied` (``app.name``, in the order they were applied) with the code, without a database.

    Unknown ones before a known migration of their app were replaced by that, and their files deleted (Django's manual,
    "Squashing migrations"): a newer version appends its migrations.
    """
    code = migrations_in_code()
    keys = _keys(applied)
    recorded, squashed = set(keys), _squashed(code)
    # A squashed migration counts as applied when all that it replaces is (Django's loader does the same).
    recorded |= {key for key, replaced in squashed.items() if replaced <= recorded}
    known = set().union(code.graph.nodes, squashed, *squashed.values())
    last_known = {app: position for position, (app, name) in enumerate(keys) if (app, name) in known}
    unknown = {
        (app, name)
        for position, (app, name) in enumerate(keys)
        if app in code.migrated_apps and position > last_known.get(app, -1)
    }
    return MigrationSkew(
        pending=tuple(".".join(key) for key in sorted(code.graph.nodes) if key not in recorded),
        unknown=tuple(".".join(key) for key in sorted(unknown)),
        unrelated=tuple(sorted({app for app, _ in unknown} - last_known.keys())),
    )


def require_known(applied: Sequence[str], name: str) -> tuple[str, ...]:
    """The code's migrations that `applied` lacks. Raises PreconditionFailed when the code lacks some of `applied`."""
    skew = migration_skew(applied)
    for app in skew.unrelated:
        theirs, ours = ([key for key in keys if key.startswith(f"{app}.")] for keys in (skew.unknown, skew.pending))
        raise PreconditionFailed(
            f"{name} records {join_names(theirs, 1)}, and this code has {join_names(ours, 1)} instead."
            " Nothing was changed.",
            f"Migrations of {app} were squashed, and the replaced files deleted. Use a version of the code that has"
            " both, and run manage.py migrate with it first.",
        )
    if skew.unknown:
        raise PreconditionFailed(
            f"{name} was written by a newer version: this code does not know {join_names(skew.unknown, 1)}."
            " Nothing was changed.",
            "Upgrade the code to the version that wrote it, and run the command again.",
        )
    return skew.pending


def require_recorded(rows: Mapping[str, int], name: str, outcome: str) -> None:
    """Raises ArtifactInvalid for a file, with these rows by table, that records no migrations. `outcome` is a sentence.

    Its schema is not known, so that a restore would refuse it.
    """
    if not rows.get(MIGRATIONS_TABLE):
        what = "has an empty table" if MIGRATIONS_TABLE in rows else "has no table"
        raise ArtifactInvalid(
            f"{name} {what} {MIGRATIONS_TABLE}: it is not a database of this site. {outcome}", LEGACY_HINT
        )


def state_of(applied: Sequence[str], name: str) -> MigrationState:
    """The state that `applied` (``app.name``, as the file `name` records them) leads to; its apps are installed ones.

    Raises ArtifactInvalid where no migrations are recorded. That all of them are known is the caller's to check.
    """
    if not applied:
        raise ArtifactInvalid(
            f"{name} has no table django_migrations, so its schema is not known. Nothing was changed.", LEGACY_HINT
        )
    code = migrations_in_code()
    recorded, squashed = set(_keys(applied)), _squashed(code)
    whole = {key for key, replaced in squashed.items() if key in recorded or replaced <= recorded}
    halves = [key for key, replaced in squashed.items() if key not in whole and replaced & recorded]
    covered = set().union(*(squashed[key] for key in whole))
    # A graph holds squashed migrations or what they replace, not both.
    nodes = (recorded | covered) - whole if halves else (recorded - covered) | whole
    return MigrationState(nodes=tuple(sorted(nodes & code.disk_migrations.keys())), replaces=not halves)


def _keys(applied: Iterable[str]) -> list[MigrationKey]:
    return [(app, name) for app, _, name in (key.partition(".") for key in applied)]


@cache
def migrations_in_code() -> MigrationLoader:
    """The migrations of the installed apps. Cached: the code does not change while the process runs."""
    return MigrationLoader(None)


def _squashed(code: MigrationLoader) -> dict[MigrationKey, set[MigrationKey]]:
    """What each squashed migration replaces."""
    return {key: set(found.replaces) for key, found in code.disk_migrations.items() if found.replaces}
