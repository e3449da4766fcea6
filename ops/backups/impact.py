"""What a restore will change, model by model, before it does."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.db import Error as DatabaseError
from django.db import connection, models

from ops.backups.engine import Engine
from ops.backups.sources import Source
from ops.backups.table_policy import excluded_from_backups, kept_in_every_restore
from ops.backups.verifying import count_rows, require_known
from ops.identifiers import quoted
from ops.progress import ignore

MOST_KEYS = 100_000
"""Rows of a table up to which keys are compared one by one; beyond it, numbers have to do."""
BEHIND_THE_SCENES = frozenset({"contenttypes", "sessions", "admin", "ops", "axes", "django_celery_beat"})
"""Apps whose rows are no content: they are made anew, live on beside the database, or keep it going."""
BEHIND_MODELS = frozenset({"auth.permission"})
SET_UP_BY_PEOPLE = frozenset({"django_celery_beat.periodictask"})
"""Of those apps: what somebody misses all the same when a restore has taken it away."""
WRITTEN_ALIKE = (models.IntegerField, models.CharField, models.TextField, models.UUIDField)
"""Keys of these kinds have one spelling. A moment, say, is written in whatever time zone a session has."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """One model: rows `now` (None where the live database does not tell) and `then`.

    `exact`: `gained` and `lost` were found by comparing keys, not numbers alone.
    """

    table: str
    label: str
    now: int | None
    then: int
    gained: int
    lost: int
    exact: bool


@dataclass(frozen=True, kw_only=True)
class Impact:
    """What changes when the backup takes the live database's place. People are named by what they sign in with."""

    changes: tuple[Change, ...]
    people_lost: tuple[str, ...]
    people_back: tuple[str, ...]
    emptied: tuple[tuple[str, int], ...]
    """What no backup holds and no restore keeps: label and rows now. That is not among the `changes`."""
    pending: tuple[str, ...]
    """Migrations that will be applied to the older data."""
    unreadable: str = ""
    """Why the live database does not tell its rows, or ''."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A table whose rows mean something to people: what to call it, and the column that tells its rows apart.

    `key` is '' where no single column does, or its values are not written alike in a database and in a dump.
    """

    table: str
    label: str
    key: str


def measure_impact(*, engine: Engine, source: Source, by_keys: bool = True) -> Impact:
    """Compare the live database with the backup; the file is read where tables are small enough to compare keys.

    Without `by_keys` the file is not read where its manifest tells the numbers of rows.

    Raises ArtifactInvalid when the file is damaged, PreconditionFailed when it is newer than the code.
    """
    pending = require_known(source.manifest.migrations, source.name) if source.manifest else ()
    then = rows_then(engine, source)
    live = Live()
    left_out = tables_left_out(source)
    every = shown_tables(also=SET_UP_BY_PEOPLE)
    tables = [
        shown for shown in every if shown.table not in left_out and (shown.table in then or live.rows.get(shown.table))
    ]
    columns = {
        shown.table: shown.key for shown in tables if by_keys and comparable(shown, then.get(shown.table, 0), live)
    }
    keys = read_keys(engine, source, {table: key for table, key in columns.items() if then.get(table)})
    none: frozenset[str] = frozenset()
    changes = []
    people = (none, none)
    for shown in tables:
        ours = live.keys(shown) if shown.table in columns else None
        theirs = keys.get(shown.table, none)
        changes.append(change(shown, live.rows.get(shown.table), then.get(shown.table, 0), ours, theirs))
        if shown.table == get_user_model()._meta.db_table and ours is not None:
            people = (ours, theirs)
    return Impact(
        changes=tuple(changes),
        people_lost=tuple(sorted(people[0] - people[1])),
        people_back=tuple(sorted(people[1] - people[0])),
        emptied=tuple(
            (shown.label, rows)
            for shown in every
            if shown.table in left_out - kept_in_every_restore() and (rows := live.rows.get(shown.table))
        ),
        pending=pending,
        unreadable=live.unreadable,
    )


def tables_left_out(source: Source) -> frozenset[str]:
    """Tables of which the backup says that it does not hold their rows; without a manifest, those of the settings."""
    if source.manifest:
        return frozenset(left_out.table for left_out in source.manifest.excluded)
    return excluded_from_backups()


def rows_then(engine: Engine, source: Source) -> Mapping[str, int]:
    if source.manifest:
        return {name: table.rows for name, table in source.manifest.tables.items()}
    return count_rows(engine, source, report=ignore)


def read_keys(engine: Engine, source: Source, columns: Mapping[str, str]) -> Mapping[str, frozenset[str]]:
    if not columns:
        return {}
    if source.trusted:
        with source.opened() as stream:
            return engine.keys(stream, kind=source.kind, columns=columns)
    with engine.untrusted(source) as file:
        found = file.read_columns({table: [column] for table, column in columns.items()})
    return {table: frozenset(value for (value,) in rows if value is not None) for table, rows in found.items()}


class Live:
    """The rows of the live database, as far as it answers."""

    def __init__(self) -> None:
        self.rows: dict[str, int] = {}
        self.unreadable = ""
        try:
            with connection.cursor() as cursor:
                there = set(connection.introspection.table_names(cursor))
                for table in (model._meta.db_table for model in apps.get_models(include_auto_created=True)):
                    if table in there:
                        cursor.execute(f"SELECT count(*) FROM {quoted(table)}")
                        self.rows[table] = cursor.fetchone()[0]
        except DatabaseError as error:
            self.rows, self.unreadable = {}, type(error).__name__

    def keys(self, shown: Shown) -> frozenset[str]:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {quoted(shown.key)} FROM {quoted(shown.table)}")
            return frozenset(str(key) for (key,) in cursor.fetchall())


def comparable(shown: Shown, then: int, live: Live) -> bool:
    return bool(shown.key) and shown.table in live.rows and max(then, live.rows[shown.table]) <= MOST_KEYS


def change(shown: Shown, now: int | None, then: int, ours: frozenset[str] | None, theirs: frozenset[str]) -> Change:
    gained, lost = max(0, then - (now or 0)), max(0, (now or 0) - then)
    if ours is not None:
        gained, lost = len(theirs - ours), len(ours - theirs)
    return Change(
        table=shown.table, label=shown.label, now=now, then=then, gained=gained, lost=lost, exact=ours is not None
    )


def is_content(model: type[models.Model]) -> bool:
    """Whether its rows are what the project is there for."""
    return model._meta.app_label not in BEHIND_THE_SCENES and model._meta.label_lower not in BEHIND_MODELS


def shown_tables(*, also: Collection[str] = ()) -> list[Shown]:
    """The tables of the project's content, and of `also`, which are labels of models; in the order of its apps."""
    return [
        Shown(table=model._meta.db_table, label=label_of(model), key=key_of(model))
        for model in apps.get_models(include_auto_created=True)
        if (is_content(model) or model._meta.label_lower in also) and model._meta.managed and not model._meta.proxy
    ]


def label_of(model: type[models.Model]) -> str:
    """The model's name in the plural; for the table between two models, both."""
    if not model._meta.auto_created:
        return str(model._meta.verbose_name_plural)
    ends = [field.remote_field.model for field in model._meta.fields if field.remote_field]
    return " and ".join(str(end._meta.verbose_name_plural) for end in ends)


def key_of(model: type[models.Model]) -> str:
    """The column that tells rows apart: the name for people, the primary key for everything else; '' for several."""
    if model is get_user_model():
        return next(f.column for f in model._meta.concrete_fields if f.name == get_user_model().USERNAME_FIELD)
    key = model._meta.pk
    field: Any = key
    while field.remote_field:
        field = field.target_field
    return str(key.column) if isinstance(field, WRITTEN_ALIKE) else ""
