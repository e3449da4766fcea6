"""System checks of the settings.

=========  =====================================================================================================
ops.E001   a setting that names tables is not a list of table names
ops.E002   a table is excluded from backups, and a model whose table is in them refers to it
ops.W003   a named table is neither in the models nor in the database
ops.E004   ``INSTALLED_APPS`` lacks unfold or the admin, or has unfold after the admin
ops.E005   ``MIDDLEWARE`` lacks maintenance mode, or has it after the sessions
ops.E006   ``DATABASES["default"]`` is neither PostgreSQL nor a SQLite file
ops.E008   ``BACKUP_DIR`` is not an absolute path
ops.E009   ``BACKUP_LOCATIONS`` has an entry that is not valid
ops.E010   the URLs of ops are not included
ops.W011   ``UNFOLD["STYLES"]`` or ``UNFOLD["SCRIPTS"]`` is not set
ops.E012   a setting that a worker needs is missing or wrong
ops.W013   ``REDIS_URL`` is set, ``OPS_CELERY_APP`` is not
ops.W014   the database cannot be written
ops.W015   backups, restores and migrations cannot connect to the server, for example because PgBouncer is in between
ops.W016   ``SECRET_KEY`` signs backups
ops.E017   a key of ``BACKUP_AGE_IDENTITY`` or ``BACKUP_AGE_RECIPIENTS`` cannot be used
ops.E018   a storage location is encrypted, and ``BACKUP_AGE_IDENTITY`` is not set
=========  =====================================================================================================

W003, W014 and W015 ask the database, so they run only with ``migrate`` and ``check --database default``.

`ops.apps` registers them, and this module is imported with the first one that runs.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning  # noqa: A004
from django.db import DatabaseError, connections, models
from django.urls import NoReverseMatch, reverse
from django.utils.module_loading import import_string

from ops.backups.encryption import AgeKeys
from ops.backups.locations.location import read_settings
from ops.backups.table_policy import PROJECT_SETTINGS, cannot_exclude, exclusions
from ops.conf import conf, setting_name
from ops.errors import PreconditionFailed
from ops.health.database import explain_no_session, explain_read_only
from ops.utils.redis_url import EXAMPLE, InvalidRedisUrl, check_redis_url

ADMIN = "django.contrib.admin"
APPS = ("unfold", ADMIN)
MAINTENANCE = "ops.maintenance.maintenance_middleware"
SESSIONS = "django.contrib.sessions.middleware.SessionMiddleware"
BEAT = "ops.schedules.beat:Scheduler"
STATIC_FILES = {"STYLES": ("ops/dashboard.css", "ops/pages.css"), "SCRIPTS": ("ops/copy-command.js",)}
"""By the key of UNFOLD that lists them."""
Fault = tuple[str, str, str]
"""The id of a message, its sentence and its hint."""
QUALIFIED = "SELECT schemaname || '.' || tablename FROM pg_tables"


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


def check_references_to_excluded_tables(**_kwargs: Any) -> list[CheckMessage]:
    if check_lists_of_tables():
        return []
    refusals = [cannot_exclude(*pair) for pair in sorted(set(references(frozenset(exclusions()))))]
    return [Error(refusal.message, hint=refusal.hint, id="ops.E002") for refusal in refusals]


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


def check_database_is_writable(*, databases: Sequence[str] | None = None, **_kwargs: Any) -> list[CheckMessage]:
    if "default" not in (databases or ()):
        return []
    try:
        sentence, hint = explain_read_only(connections["default"])
    except DatabaseError:
        return []  # commands that need the database report it better
    return [Warning(sentence, hint=hint, id="ops.W014")] if sentence else []


def check_operations_connect(*, databases: Sequence[str] | None = None, **_kwargs: Any) -> list[CheckMessage]:
    if "default" not in (databases or ()) or connections["default"].vendor != "postgresql":
        return []
    try:
        connections["default"].ensure_connection()
    except DatabaseError:
        return []  # commands that need the database report it better
    sentence, hint = explain_no_session("default")
    return [Warning(sentence, hint=hint, id="ops.W015")] if sentence else []


def tables_of_database() -> set[str]:
    connection = connections["default"]
    with connection.cursor() as cursor:
        names = set(connection.introspection.table_names(cursor))
        if connection.vendor == "postgresql":
            cursor.execute(QUALIFIED)
            names |= {name for (name,) in cursor.fetchall()}
    return names


def check_installation(**_kwargs: Any) -> list[CheckMessage]:
    faults = (*faults_of_app(), *faults_of_data(), *faults_of_worker())
    return [
        (Warning if fault_id.startswith("ops.W") else Error)(sentence, hint=hint, id=fault_id)
        for fault_id, sentence, hint in faults
    ]


def faults_of_app() -> Iterator[Fault]:
    names = [config.name for config in apps.get_app_configs()]
    for name in APPS:
        if name not in names:
            yield "ops.E004", f"'{name}' is not in INSTALLED_APPS.", f'Add "{name}".'
    if {*APPS} <= {*names} and names.index("unfold") > names.index(ADMIN):
        sentence = f"'unfold' comes after '{ADMIN}' in INSTALLED_APPS: its templates would not be found."
        yield "ops.E004", sentence, f'INSTALLED_APPS = ["unfold", "{ADMIN}", …]'
    middleware = list(settings.MIDDLEWARE)
    if MAINTENANCE not in middleware or SESSIONS in middleware[: middleware.index(MAINTENANCE)]:
        yield (
            "ops.E005",
            f"'{MAINTENANCE}' is not in MIDDLEWARE before the sessions: writes would not be blocked during a restore.",
            f'MIDDLEWARE = ["django.middleware.security.SecurityMiddleware", "{MAINTENANCE}", …]',
        )
    try:
        reverse("ops-run-status", args=["token"])
    except NoReverseMatch:
        sentence = "The URLs of ops are not included: health, and the progress of a restore."
        yield "ops.E010", sentence, 'urlpatterns = [path("", include("ops.urls")), …]'
    for key, files in STATIC_FILES.items():
        if not getattr(settings, "UNFOLD", {}).get(key):
            listed = ", ".join(f'lambda request: static("{file}")' for file in files)
            sentence = f'UNFOLD["{key}"] is not set: the pages of ops are shown without {", ".join(files)}.'
            yield "ops.W011", sentence, f'UNFOLD = {{"{key}": [{listed}]}}'


def faults_of_data() -> Iterator[Fault]:
    vendor = connections["default"].vendor
    if vendor not in {"postgresql", "sqlite"}:
        sentence = f"{setting_name('DATABASES')} is {vendor}; ops backs up PostgreSQL and SQLite."
        yield "ops.E006", sentence, 'DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", …}}'
    if not conf.BACKUP_DIR.is_absolute():
        sentence = "BACKUP_DIR is not an absolute path: it would depend on the directory in which a process is started."
        yield "ops.E008", sentence, 'BACKUP_DIR = BASE_DIR / "backups"'
    yield from faults_of_keys()
    try:
        locations = read_settings(conf.BACKUP_LOCATIONS)
    except PreconditionFailed as error:
        yield "ops.E009", error.message, error.hint
        return
    encrypted = [location.name for location in locations if location.encrypted]
    if encrypted and not conf.BACKUP_AGE_IDENTITY:
        sentence = (
            f"The storage location {encrypted[0]} is encrypted, but this machine has no key: no copy can be made."
        )
        yield "ops.E018", sentence, "Set BACKUP_AGE_IDENTITY to a new key, which `age-keygen` prints."


def faults_of_keys() -> Iterator[Fault]:
    if not conf.BACKUP_SIGNING_KEY:
        sentence = "BACKUP_SIGNING_KEY is not set, so SECRET_KEY signs backups. It cannot be in a recovery kit."
        new = "Set it to a new secret: python -c 'import secrets; print(secrets.token_urlsafe(50))'"
        yield "ops.W016", sentence, f"{new}. Backups that SECRET_KEY has signed stay trusted."
    try:
        AgeKeys.of_machine(conf.BACKUP_AGE_IDENTITY, conf.BACKUP_AGE_RECIPIENTS)
    except PreconditionFailed as error:
        yield "ops.E017", error.message, error.hint


def faults_of_worker() -> Iterator[Fault]:
    if not conf.OPS_CELERY_APP:
        if conf.REDIS_URL:
            sentence = "REDIS_URL is set, but OPS_CELERY_APP is not: the admin cannot start backups and restores."
            yield "ops.W013", sentence, 'OPS_CELERY_APP = "yourproject.celery.app"'
        return
    try:
        celery = import_string(conf.OPS_CELERY_APP).conf
    except ImportError as error:
        yield "ops.E012", f"OPS_CELERY_APP cannot be imported: {error}.", '"yourproject.celery.app"'
        return
    if not conf.REDIS_URL:
        yield "ops.E012", "REDIS_URL is not set.", 'REDIS_URL = "redis://localhost:6379/0"'
    try:
        check_redis_url(conf.REDIS_URL or EXAMPLE)
    except InvalidRedisUrl as error:
        yield "ops.E012", f"REDIS_URL {error.fault}.", f'REDIS_URL = "{error.example}"'
    if not celery.broker_url:
        yield "ops.E012", "CELERY_BROKER_URL is not set.", "CELERY_BROKER_URL = REDIS_URL"
    if celery.task_acks_late:
        sentence = "CELERY_TASK_ACKS_LATE is true: a restore whose worker was killed would be started again."
        yield "ops.E012", sentence, "CELERY_TASK_ACKS_LATE = False"
    if apps.is_installed("django_celery_beat") and celery.beat_scheduler != BEAT:
        sentence = "CELERY_BEAT_SCHEDULER is not the scheduler of ops: two beats would start a task twice."
        yield "ops.E012", sentence, f'CELERY_BEAT_SCHEDULER = "{BEAT}"'
