import contextlib
from typing import Any

from django.apps import AppConfig, apps
from django.apps.registry import Apps
from django.db import router
from django.db.backends.signals import connection_created
from django.db.models.signals import post_migrate


class OpsConfig(AppConfig):
    name = "ops"
    verbose_name = "Database"

    def ready(self) -> None:
        from ops import checks  # noqa: F401, PLC0415  # importing registers them; they need the models

        post_migrate.connect(make_schedules, sender=self)
        if apps.is_installed("django.contrib.postgres"):
            connection_created.connect(forget_types)


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
