"""The schedule that prunes the history."""

from typing import Any

from django.conf import settings
from django.db import router

NAME = "Prune history"
TASK = "homerack.history.tasks.prune_history"
HOUR, MINUTE = 4, 30


def make_schedule(*, using: str, apps: Any, **_options: Any) -> None:
    """Called after migrations: make the row that beat reads, unless it is there. Administrators may change it."""
    try:
        tasks = apps.get_model("django_celery_beat", "PeriodicTask")
    except LookupError:
        return  # migrated to a state without it
    if using != router.db_for_write(tasks) or not router.allow_migrate_model(using, tasks):
        return
    from django_celery_beat.models import CrontabSchedule, PeriodicTask  # noqa: PLC0415  # needs the models

    if PeriodicTask.objects.using(using).filter(task=TASK).exists():
        return
    clock = {"hour": str(HOUR), "minute": str(MINUTE), "timezone": settings.TIME_ZONE}
    crontabs = CrontabSchedule.objects.using(using)
    crontab = crontabs.filter(**clock, day_of_week="*", day_of_month="*", month_of_year="*").first()
    PeriodicTask(
        name=NAME,
        task=TASK,
        crontab=crontab or crontabs.create(**clock),
        description="Deletes the history of changes that is older than HISTORY_DAYS.",
        expire_seconds=12 * 3600,
    ).save(using=using)
