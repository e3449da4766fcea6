import contextlib
from collections.abc import Callable
from functools import cache
from typing import Any

from django.apps import AppConfig, apps
from django.apps.registry import Apps
from django.core.checks import CheckMessage, Tags, register
from django.db import router
from django.db.backends.signals import connection_created
from django.db.models.signals import post_migrate
from django.utils.module_loading import import_string

CHECKS = {
    "check_lists_of_tables": (Tags.compatibility,),
    "check_references_to_excluded_tables": (Tags.models,),
    "check_named_tables_exist": (Tags.database,),
    "check_database_is_writable": (Tags.database,),
    "check_operations_connect": (Tags.database,),
    "check_installation": (Tags.compatibility, Tags.files, Tags.urls),
}
"""Functions of `ops.checks`, and when they run."""


class OpsConfig(AppConfig):
    name = "ops"
    verbose_name = "Database"

    def ready(self) -> None:
        for name, tags in CHECKS.items():
            register(imported_when_run(name), *tags)
        post_migrate.connect(make_schedules, sender=self)
        if apps.is_installed("django.contrib.postgres"):
            connection_created.connect(forget_types)


@cache  # apps are made ready again where INSTALLED_APPS change, and each check runs once
def imported_when_run(name: str) -> Callable[..., list[CheckMessage]]:
    """The function of `ops.checks`, which needs the models, and modules that most commands do not need."""

    def check(**options: Any) -> list[CheckMessage]:
        messages: list[CheckMessage] = import_string(f"ops.checks.{name}")(**options)
        return messages

    return check


def make_schedules(*, using: str, apps: Apps, **_kwargs: Any) -> None:
    """The rows of the schedules, in the database that beat reads, if it has their tables; `apps` has its models."""
    from ops.runs.schedule_rows import apply_schedules  # noqa: PLC0415  # needs the models

    with contextlib.suppress(LookupError):
        tasks = apps.get_model("django_celery_beat", "PeriodicTask")
        # Rows of another database would be of no use, and celery-beat writes to this one when they are saved.
        if using == router.db_for_write(tasks) and router.allow_migrate_model(using, tasks):
            apply_schedules(using)


def forget_types(**_kwargs: Any) -> None:
    """Let Django ask again for the OIDs of hstore and citext, which are others in a restored database.

    It asks once a process, and would read texts from then on.
    """
    from django.contrib.postgres.signals import get_citext_oids, get_hstore_oids  # noqa: PLC0415  # needs psycopg2

    for cached in (get_hstore_oids, get_citext_oids):
        cached.cache_clear()  # type: ignore[attr-defined]  # of functools.lru_cache
