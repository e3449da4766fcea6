"""System checks of the settings.

=========  =====================================================================================================
ops.E001   a setting that names tables is not a list of table names
ops.E002   a table is excluded from backups, and a model whose table is in them refers to it
ops.W003   a named table is neither in the models nor in the database
ops.E004   ``INSTALLED_APPS`` lacks unfold or the admin, or has unfold after the admin
ops.E005   ``MIDDLEWARE`` lacks maintenance mode, or has it after the sessions
ops.E006   ``DATABASES["default"]`` is neither PostgreSQL nor a SQLite file
ops.E007   ``USE_TZ`` is false
ops.E008   ``BACKUP_DIR`` is not an absolute path
ops.E009   ``STORAGES["backups"]`` is missing or cannot be used
ops.E010   the URLs of ops are not included
ops.W011   ``UNFOLD["STYLES"]`` is not set
ops.E012   a setting that a worker needs is missing or wrong
ops.W013   ``REDIS_URL`` is set, ``OPS_CELERY_APP`` is not
=========  =====================================================================================================

W003 queries the database, so it runs only with ``migrate`` and ``check --database default``.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register  # noqa: A004
from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import InvalidStorageError, storages
from django.db import DatabaseError, connections, models
from django.urls import NoReverseMatch, reverse
from django.utils.module_loading import import_string

from ops.backups.table_policy import PROJECT_SETTINGS, cannot_exclude, excluded_from_backups
from ops.conf import conf, setting_name

ADMIN = "django.contrib.admin"
APPS = ("unfold", ADMIN)
MAINTENANCE = "ops.maintenance.maintenance_middleware"
SESSIONS = "django.contrib.sessions.middleware.SessionMiddleware"
BEAT = "ops.schedules.beat:Scheduler"
STYLESHEETS = ("ops/dashboard.css", "ops/pages.css")
QUALIFIED = "SELECT schemaname || '.' || tablename FROM pg_tables"


@register(Tags.compatibility)
def check_lists_of_tables(**_kwargs: Any) -> list[CheckMessage]:
    return [
        Error(
            f"{setting} is not a list of table names.",
            hint=f'For example: {setting} = ["shop_cart"]',
            id="ops.E001",
        )
        for setting in PROJECT_SETTINGS
        if not is_list_of_names(getattr(conf, setting))
    ]


def is_list_of_names(value: object) -> bool:
    return isinstance(value, list | tuple | set | frozenset) and all(isinstance(name, str) for name in value)


@register(Tags.models)
def check_references_to_excluded_tables(**_kwargs: Any) -> list[CheckMessage]:
    if check_lists_of_tables():
        return []
    messages: list[CheckMessage] = []
    for referring, referred in sorted(set(references(excluded_from_backups()))):
        refusal = cannot_exclude(referring, referred)
        messages.append(Error(refusal.message, hint=refusal.hint, id="ops.E002"))
    return messages


def references(excluded: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Pairs of a table that is not excluded, and an excluded one that it refers to."""
    for model in apps.get_models(include_auto_created=True):
        if model._meta.proxy or table_of(model) in excluded:
            continue
        for field in model._meta.local_fields:
            if isinstance(field, models.ForeignKey) and table_of(field.remote_field.model) in excluded:
                yield table_of(model), table_of(field.remote_field.model)


def table_of(model: type[models.Model]) -> str:
    return model._meta.db_table


@register(Tags.database)
def check_named_tables_exist(*, databases: Sequence[str] | None = None, **_kwargs: Any) -> list[CheckMessage]:
    if "default" not in (databases or ()) or check_lists_of_tables():
        return []
    named = {table: setting for setting in PROJECT_SETTINGS for table in getattr(conf, setting)}
    unknown = named.keys() - {table_of(model) for model in apps.get_models(include_auto_created=True)}
    if not unknown:
        return []
    try:
        unknown -= tables_of_database()
    except DatabaseError:
        return []  # commands that need the database report it better
    return [
        Warning(
            f"{named[table]} names {table}, but there is no such table.",
            hint="Correct the name. On PostgreSQL a table of another schema is named as schema.table.",
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


@register(Tags.compatibility)
def apps_are_installed(**_kwargs: Any) -> Iterator[CheckMessage]:
    names = [config.name for config in apps.get_app_configs()]
    for name in APPS:
        if name not in names:
            yield Error(f"'{name}' is not in INSTALLED_APPS.", hint=f'Add "{name}".', id="ops.E004")
    if {"unfold", ADMIN} <= set(names) and names.index("unfold") > names.index(ADMIN):
        yield Error(
            f"'unfold' comes after '{ADMIN}' in INSTALLED_APPS: its templates would not be found.",
            hint=f'INSTALLED_APPS = ["unfold", "{ADMIN}", …]',
            id="ops.E004",
        )


@register(Tags.compatibility)
def maintenance_mode_is_installed(**_kwargs: Any) -> Iterator[CheckMessage]:
    names = list(settings.MIDDLEWARE)
    if MAINTENANCE not in names or SESSIONS in names[: names.index(MAINTENANCE)]:
        yield Error(
            f"'{MAINTENANCE}' is not in MIDDLEWARE before the sessions: writes would not be blocked during a restore.",
            hint=f'MIDDLEWARE = ["django.middleware.security.SecurityMiddleware", "{MAINTENANCE}", …]',
            id="ops.E005",
        )


@register(Tags.compatibility)
def database_is_supported(**_kwargs: Any) -> Iterator[CheckMessage]:
    vendor = connections["default"].vendor
    if vendor not in {"postgresql", "sqlite"}:
        yield Error(
            f"{setting_name('DATABASES')} is {vendor}; ops backs up PostgreSQL and SQLite.",
            hint='DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", …}}',
            id="ops.E006",
        )


@register(Tags.compatibility)
def time_zones_are_used(**_kwargs: Any) -> Iterator[CheckMessage]:
    if not settings.USE_TZ:
        yield Error("USE_TZ is false: the times of backups would be ambiguous.", hint="USE_TZ = True", id="ops.E007")


@register(Tags.files)
def backups_have_a_place(**_kwargs: Any) -> Iterator[CheckMessage]:
    if not conf.BACKUP_DIR.is_absolute():
        yield Error(
            "BACKUP_DIR is not an absolute path: it would depend on the directory in which a process is started.",
            hint='BACKUP_DIR = BASE_DIR / "backups"',
            id="ops.E008",
        )
    try:
        storages["backups"]
    except (InvalidStorageError, ImproperlyConfigured, TypeError) as error:
        yield Error(
            f'STORAGES["backups"] cannot be used: {error}',
            hint='STORAGES["backups"] = {"BACKEND": "ops.backups.storage.local.PrivateFileSystemStorage",'
            ' "OPTIONS": {"location": BACKUP_DIR}}',
            id="ops.E009",
        )


@register(Tags.urls)
def urls_are_included(**_kwargs: Any) -> Iterator[CheckMessage]:
    try:
        reverse("ops-run-status", args=["token"])
    except NoReverseMatch:
        yield Error(
            "The URLs of ops are not included: health, and the progress of a restore.",
            hint='urlpatterns = [path("", include("ops.urls")), …]',
            id="ops.E010",
        )


@register(Tags.compatibility)
def stylesheets_are_named(**_kwargs: Any) -> Iterator[CheckMessage]:
    if not getattr(settings, "UNFOLD", {}).get("STYLES"):
        styles = ", ".join(f'lambda request: static("{sheet}")' for sheet in STYLESHEETS)
        yield Warning(
            'UNFOLD["STYLES"] is not set: the pages of ops are shown without their stylesheets.',
            hint=f'UNFOLD = {{"STYLES": [{styles}]}}',
            id="ops.W011",
        )


@register(Tags.compatibility)
def worker_is_configured(**_kwargs: Any) -> Iterator[CheckMessage]:
    if not conf.OPS_CELERY_APP:
        if conf.REDIS_URL:
            yield Warning(
                "REDIS_URL is set, but OPS_CELERY_APP is not: the admin cannot start backups and restores.",
                hint='OPS_CELERY_APP = "yourproject.celery.app"',
                id="ops.W013",
            )
        return
    try:
        celery = import_string(conf.OPS_CELERY_APP).conf
    except ImportError as error:
        yield Error(f"OPS_CELERY_APP cannot be imported: {error}.", hint='"yourproject.celery.app"', id="ops.E012")
        return
    for is_wrong, what, hint in (
        (not conf.REDIS_URL, "REDIS_URL is not set", 'REDIS_URL = "redis://localhost:6379/0"'),
        (not celery.broker_url, "CELERY_BROKER_URL is not set", "CELERY_BROKER_URL = REDIS_URL"),
        (
            celery.task_acks_late,
            "CELERY_TASK_ACKS_LATE is true: a restore whose worker was killed would be started again",
            "CELERY_TASK_ACKS_LATE = False",
        ),
        (
            apps.is_installed("django_celery_beat") and celery.beat_scheduler != BEAT,
            "CELERY_BEAT_SCHEDULER is not the scheduler of ops: two beats would start a task twice",
            f'CELERY_BEAT_SCHEDULER = "{BEAT}"',
        ),
        (
            apps.is_installed("django_celery_beat") and celery.beat_sync_every != 1,
            "CELERY_BEAT_SYNC_EVERY is not 1: a beat that was killed would start a task again",
            "CELERY_BEAT_SYNC_EVERY = 1",
        ),
    ):
        if is_wrong:
            yield Error(f"{what}.", hint=hint, id="ops.E012")
