"""What can be wrong with the settings that name tables, found before a backup is refused.

=========  =====================================================================================================
ops.E001   the setting is not a list of names
ops.E002   a table is left out of backups, and a model whose table is in them refers to it
ops.W003   a table is named that neither a model nor the database knows
=========  =====================================================================================================

W003 asks the database, and so runs only where databases are checked: ``migrate`` and ``check --database default``.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import apps
from django.core.checks import CheckMessage, Error, Tags, Warning, register  # noqa: A004
from django.db import DatabaseError, connections, models

from ops.backups.table_policy import PROJECT_SETTINGS, cannot_exclude, excluded_from_backups
from ops.conf import conf

QUALIFIED = "SELECT schemaname || '.' || tablename FROM pg_tables"


@register(Tags.compatibility)
def tables_are_named_in_lists(**_kwargs: Any) -> list[CheckMessage]:
    return [
        Error(
            f"{setting} is not a list of names of tables.",
            hint=f'For example: {setting} = ["shop_cart"]',
            id="ops.E001",
        )
        for setting in PROJECT_SETTINGS
        if not is_list_of_names(getattr(conf, setting))
    ]


def is_list_of_names(value: object) -> bool:
    return isinstance(value, list | tuple | set | frozenset) and all(isinstance(name, str) for name in value)


@register(Tags.models)
def nothing_refers_to_excluded_tables(**_kwargs: Any) -> list[CheckMessage]:
    if tables_are_named_in_lists():
        return []
    messages: list[CheckMessage] = []
    for referring, referred in sorted(set(references(excluded_from_backups()))):
        refusal = cannot_exclude(referring, referred)
        messages.append(Error(refusal.message, hint=refusal.hint, id="ops.E002"))
    return messages


def references(excluded: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Tables of models that are not excluded, each with an excluded one that it refers to."""
    for model in apps.get_models(include_auto_created=True):
        if model._meta.proxy or table_of(model) in excluded:
            continue
        for field in model._meta.local_fields:
            if isinstance(field, models.ForeignKey) and table_of(field.remote_field.model) in excluded:
                yield table_of(model), table_of(field.remote_field.model)


def table_of(model: type[models.Model]) -> str:
    return model._meta.db_table


@register(Tags.database)
def named_tables_are_known(*, databases: Sequence[str] | None = None, **_kwargs: Any) -> list[CheckMessage]:
    if "default" not in (databases or ()) or tables_are_named_in_lists():
        return []
    named = {table: setting for setting in PROJECT_SETTINGS for table in getattr(conf, setting)}
    unknown = named.keys() - {table_of(model) for model in apps.get_models(include_auto_created=True)}
    if not unknown:
        return []
    try:
        unknown -= tables_of_database()
    except DatabaseError:
        return []  # whoever needs the database will say so better
    return [
        Warning(
            f"{named[table]} names {table}, and there is no such table.",
            hint="Correct its spelling. On PostgreSQL a table of another schema is named with it: schema.table",
            id="ops.W003",
        )
        for table in sorted(unknown)
    ]


def tables_of_database() -> set[str]:
    connection = connections["default"]
    with connection.cursor() as cursor:
        names = set(connection.introspection.table_names(cursor))
        if connection.vendor == "postgresql":
            cursor.execute(QUALIFIED)
            names |= {name for (name,) in cursor.fetchall()}
    return names
