"""The schema for the rows of an untrusted file: built by the project's own migrations, at the file's state."""

import itertools
from dataclasses import dataclass

from django.apps import apps
from django.contrib.auth.management import create_permissions
from django.contrib.contenttypes.management import create_contenttypes
from django.db import Error
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.exceptions import NodeNotFoundError
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.migration import Migration

from ops.databases.migration_state import MigrationKey, MigrationState
from ops.errors import PreconditionFailed
from ops.utils.progress import Progress, ProgressCallback, Stage


@dataclass(frozen=True, kw_only=True)
class NaturalKeyTables:
    """The tables of content types and permissions, '' where the project has none.

    Django creates their rows. Those of a file are matched with them by natural key, and not copied.
    """

    content_types: str
    permissions: str

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(filter(None, (self.content_types, self.permissions)))


def natural_key_tables() -> NaturalKeyTables:
    """The natural-key tables of the project."""

    def table(app: str, model: str) -> str:
        return str(apps.get_model(app, model)._meta.db_table) if apps.is_installed(f"django.contrib.{app}") else ""

    return NaturalKeyTables(content_types=table("contenttypes", "ContentType"), permissions=table("auth", "Permission"))


def build_schema(wrapper: BaseDatabaseWrapper, state: MigrationState, *, on_progress: ProgressCallback) -> None:
    """Apply the migrations of `state` and whatever they depend on, to the empty database that "default" is here.

    Content types and permissions are made as Django makes them after ``migrate``. Raises PreconditionFailed.
    """
    applied = itertools.count(1)

    def on_migration(action: str, migration: Migration | None = None, fake: bool = False) -> None:  # noqa: ARG001, FBT001, FBT002  # Django's
        if action == "apply_success":
            # Deferred constraints would hold up the ALTER TABLE of the next migration in the same transaction.
            wrapper.check_constraints()
            on_progress(Progress(stage=Stage.LOAD, item="schema", done=next(applied)))

    executor = MigrationExecutor(wrapper, on_migration)  # type: ignore[arg-type]  # the stubs know one of its two calls
    executor.loader = MigrationLoader(wrapper, replace_migrations=state.replaces)
    try:
        reached = executor.migrate(last_nodes(executor.loader, state))
    except (Error, NodeNotFoundError, KeyError) as error:
        raise PreconditionFailed(
            f"The project's migrations cannot build the schema that the file was made with: {error}."
            " Nothing was changed.",
            "Run manage.py migrate in the installation that made the file, and create the file again.",
        ) from error
    for app in apps.get_app_configs():
        create_contenttypes(app, verbosity=0, interactive=False, using=wrapper.alias, apps=reached.apps)
        create_permissions(app, verbosity=0, interactive=False, using=wrapper.alias, apps=reached.apps)


def last_nodes(loader: MigrationLoader, state: MigrationState) -> list[MigrationKey]:
    """The last nodes of each app in the state and its dependencies. An earlier target would roll migrations back."""
    closure = {key for node in state.nodes for key in loader.graph.forwards_plan(node)}
    return sorted(
        key
        for key in closure
        if not any(child.key in closure and child.key[0] == key[0] for child in loader.graph.node_map[key].children)
    )
