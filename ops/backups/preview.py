"""Preview a restore: what it will change, model by model."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.db import Error as DatabaseError
from django.db import connection, models

from ops.backups.engines.base import Engine, LeftOut, Rows, rows_left_out
from ops.backups.rights.accounts import MAX_ROWS, Content, accounts_in, compare_accounts, require_few
from ops.backups.rights.changes import Accounts, RightsChange
from ops.backups.rights.tables import Layout, Relation, layout_of, merged
from ops.backups.sources import RestoreSource
from ops.backups.table_policy import kept_live, never_from_untrusted_files, not_previewed
from ops.backups.verify import count_rows
from ops.databases.migration_state import require_known, require_recorded
from ops.utils.formatting import pluralize
from ops.utils.identifiers import quoted
from ops.utils.progress import no_progress

MAX_KEYS = 100_000
"""Rows of a table up to which keys are compared; in larger tables only the numbers of rows are."""
SYSTEM_APPS = frozenset({"contenttypes", "sessions", "admin", "ops", "axes", "django_celery_beat"})
"""Apps whose rows are not the project's content: Django creates them, or they belong to the operation of the site."""
SYSTEM_MODELS = frozenset({"auth.permission"})
CONTENT_IN_SYSTEM_APPS = frozenset({"django_celery_beat.periodictask"})
"""Models of those apps whose rows users create."""
COMPARABLE_KEY_FIELDS = (models.IntegerField, models.CharField, models.TextField, models.UUIDField)
"""Keys of these types have one text form. That of a time, for example, depends on the time zone of the session."""


@dataclass(frozen=True, kw_only=True)
class TableDiff:
    """One model: rows `now` (None where the live database cannot be read) and `then`.

    `exact`: `gained` and `lost` come from comparing keys, not numbers of rows.
    """

    table: str
    label: str
    now: int | None
    then: int
    gained: int
    lost: int
    exact: bool

    @property
    def has_changed(self) -> bool:
        return bool(self.gained or self.lost or self.now != self.then)


@dataclass(frozen=True, kw_only=True)
class RestorePreview:
    """What changes when the backup replaces the live database.

    `rights` is None where the file was not read.
    """

    changes: tuple[TableDiff, ...]
    rights: RightsChange | None
    emptied: tuple[tuple[str, int], ...]
    """Tables whose rows are in no backup and are not kept: label and rows now. They are not in `changes`."""
    not_taken: tuple[LeftOut, ...]
    """Rows of an untrusted file that a restore does not copy."""
    pending: tuple[str, ...]
    """Migrations that will be applied to the older data."""
    unreadable: str = ""
    """Why the live database cannot be read, or ''."""

    @property
    def changed(self) -> list[TableDiff]:
        return [diff for diff in self.changes if diff.has_changed]

    def describe_unchanged(self) -> list[str]:
        """A sentence on the models in which no row is restored or removed, and one on those whose rows were counted."""
        unchanged = [diff for diff in self.changes if not diff.has_changed]
        same = sum(diff.exact for diff in unchanged)
        counted = len(unchanged) - same
        other = "other " if self.changed else ""
        sentences = []
        if same:
            models = pluralize(same, f"{other}model")
            sentences.append(f"In {models} no rows will be added or removed, but values in rows may change.")
        if counted == 1:
            sentences.append("1 large model was compared by row count only: the counts are equal.")
        elif counted:
            sentences.append(f"{counted} large models were compared by row count only: the counts are equal.")
        return sentences


def describe_emptied(label: str, rows: int) -> str:
    return f"All {label} will be removed ({pluralize(rows, 'row')} now), because backups do not include them."


def describe_pending(migrations: int) -> str:
    applied = pluralize(migrations, "migration")
    return f"The backup is older than the installed code. The restore will apply {applied}."


@dataclass(frozen=True, kw_only=True)
class ContentTable:
    """A table with content: its label for users, and the column of its primary key.

    `key` is '' where the key has several columns, or its text form differs between a database and a dump.
    """

    table: str
    label: str
    key: str


def preview_restore(*, engine: Engine, source: RestoreSource, by_keys: bool = True) -> RestorePreview:
    """Compare the live database with the backup. The file is read to compare the keys of small tables.

    Without `by_keys` the file is not read where its manifest has the numbers of rows.

    Raises ArtifactInvalid when the file is damaged or records no migrations, PreconditionFailed when it is newer than
    the code.
    """
    pending = require_known(source.manifest.migrations, source.name) if source.manifest else ()
    prefix = schema_prefix() if source.trusted else ""
    backup_rows = {name.removeprefix(prefix): rows for name, rows in rows_in_backup(engine, source).items()}
    if source.manifest is None:
        require_recorded(backup_rows, source.name, "Nothing was changed.")
    live = LiveCounts()
    # Of an untrusted file, the tables whose rows are never copied.
    excluded = never_from_untrusted_files()
    if source.manifest:
        excluded = frozenset(table.table.removeprefix(prefix) for table in source.manifest.excluded)
    kept = kept_live(trusted=source.trusted)
    all_tables = content_tables(also=CONTENT_IN_SYSTEM_APPS)
    tables = [
        item
        for item in all_tables
        if item.table not in excluded and (item.table in backup_rows or live.rows.get(item.table))
    ]
    keys = {
        item.table: Relation(table=item.table, columns=(item.key,))
        for item in tables
        if by_keys and item.key and item.table in live.rows
        if max(live.rows[item.table], backup_rows.get(item.table, 0)) <= MAX_KEYS
    }
    layout = layout_of(get_user_model())
    content = read(engine, source, backup_rows, prefix, keys=keys.values(), layout=layout) if by_keys else None

    def change(item: ContentTable) -> TableDiff:
        now, then = live.rows.get(item.table), backup_rows.get(item.table, 0)
        gained, lost = max(0, then - (now or 0)), max(0, (now or 0) - then)
        exact = content is not None and item.table in keys and item.table in content.rows
        if content and exact:
            ours = live.keys(item)
            theirs = {value for (value,) in content.select(keys[item.table]) if value is not None}
            gained, lost = len(theirs - ours), len(ours - theirs)
        return TableDiff(table=item.table, label=item.label, now=now, then=then, gained=gained, lost=lost, exact=exact)

    return RestorePreview(
        changes=tuple(map(change, tables)),
        rights=compare_accounts(layout, partial(accounts_in_backup, layout, content, backup_rows)) if content else None,
        emptied=tuple(
            (item.label, rows)
            for item in all_tables
            if item.table in excluded - kept and (rows := live.rows.get(item.table))
        ),
        not_taken=rows_not_taken(source, backup_rows),
        pending=pending,
        unreadable=live.unreadable,
    )


def rows_not_taken(source: RestoreSource, backup_rows: Mapping[str, int]) -> tuple[LeftOut, ...]:
    """Rows of an untrusted file that a restore will not copy, as far as the names of its tables tell."""
    if source.trusted:
        return ()
    ours = {model._meta.db_table for model in apps.get_models(include_auto_created=True)}
    never = never_from_untrusted_files()
    not_taken = {table: rows for table, rows in backup_rows.items() if table in never or table not in ours}
    return rows_left_out(not_taken, known=never)


def schema_prefix() -> str:
    """What the names of the project's tables begin with in its backups: nothing for those in ``public``."""
    if connection.vendor != "postgresql":
        return ""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_schema()")
            (schema,) = cursor.fetchone()
    except DatabaseError:
        return ""
    return "" if schema in {None, "public"} else f"{schema}."


def rows_in_backup(engine: Engine, source: RestoreSource) -> Mapping[str, int]:
    if source.manifest:
        return {name: table.rows for name, table in source.manifest.tables.items()}
    return count_rows(engine, source, on_progress=no_progress)


def read(
    engine: Engine,
    source: RestoreSource,
    backup_rows: Mapping[str, int],
    prefix: str,
    *,
    keys: Iterable[Relation],
    layout: Layout,
) -> Content:
    """The values that are compared: keys, and accounts unless there are too many."""
    columns = merged(
        *keys, *(relation for relation in layout.relations if backup_rows.get(relation.table, 0) <= MAX_ROWS)
    )
    wanted = {table: names for table, names in columns.items() if backup_rows.get(table)}
    found: dict[str, Rows] = {table: [] for table in columns if backup_rows.get(table) == 0}
    if source.trusted:
        with source.open() as stream:
            named = {f"{prefix}{table}": names for table, names in wanted.items()}
            read_rows = engine.read_columns(stream, kind=source.kind, columns=named)
            found |= {name.removeprefix(prefix): rows for name, rows in read_rows.items()}
    else:
        with engine.untrusted(source) as file:
            found |= file.read_columns(wanted)
    return Content(columns=columns, rows=found)


def accounts_in_backup(layout: Layout, content: Content, backup_rows: Mapping[str, int]) -> Accounts:
    """Those of the backup. Raises AccountsUnknown."""
    for table in layout.columns:
        require_few(table, backup_rows.get(table, 0), where="the backup")
    return accounts_in(layout, content, where="the backup")


class LiveCounts:
    """Numbers of rows in the live database; none where it is unreachable."""

    def __init__(self) -> None:
        self.rows: dict[str, int] = {}
        self.unreadable = ""
        try:
            with connection.cursor() as cursor:
                existing = set(connection.introspection.table_names(cursor))
                for table in (model._meta.db_table for model in apps.get_models(include_auto_created=True)):
                    if table in existing:
                        cursor.execute(f"SELECT count(*) FROM {quoted(table)}")
                        self.rows[table] = cursor.fetchone()[0]
        except DatabaseError as error:
            self.rows, self.unreadable = {}, type(error).__name__

    def keys(self, item: ContentTable) -> frozenset[str]:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {quoted(item.key)} FROM {quoted(item.table)}")
            return frozenset(str(key) for (key,) in cursor.fetchall())


def is_content(model: type[models.Model]) -> bool:
    """Whether its rows are the project's own content."""
    return model._meta.app_label not in SYSTEM_APPS and model._meta.label_lower not in SYSTEM_MODELS


def content_tables(*, also: Collection[str] = ()) -> list[ContentTable]:
    """The tables of the project's content and of the models `also` (labels), in the order of the apps.

    The setting OPS_PREVIEW_EXCLUDED_TABLES leaves some out.
    """
    left_out = not_previewed()
    return [
        ContentTable(table=model._meta.db_table, label=str(model._meta.verbose_name_plural), key=key_of(model))
        for model in apps.get_models(include_auto_created=True)
        if (is_content(model) or model._meta.label_lower in also)
        and model._meta.managed
        and not model._meta.proxy
        and model._meta.db_table not in left_out
    ]


def key_of(model: type[models.Model]) -> str:
    """The column that tells rows apart: the name for people, the primary key for everything else; '' for several."""
    if model is get_user_model():
        name: Any = model._meta.get_field(get_user_model().USERNAME_FIELD)
        if name.model is model:
            return str(name.column)
    key = model._meta.pk
    field: Any = key
    while field.remote_field:
        field = field.target_field
    return str(key.column) if isinstance(field, COMPARABLE_KEY_FIELDS) else ""
