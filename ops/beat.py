"""``celery beat`` with the schedules of the database: the setting ``CELERY_BEAT_SCHEDULER = "ops.beat:Scheduler"``.

Needs django-celery-beat, and only beat itself imports it.
"""

from typing import Any

from django_celery_beat.models import PeriodicTask
from django_celery_beat.schedulers import DatabaseScheduler


class Scheduler(DatabaseScheduler):
    """django-celery-beat's scheduler, which makes up for what fell into a time when it did not run."""

    def enabled_models_qs(self) -> Any:
        """All of them. The original leaves out what is hours away on the clock, and with it what is overdue since then:

        a machine that sleeps at night would start its nightly backup not in the morning but around the next midnight.
        """
        return PeriodicTask.objects.enabled()

    def install_default_entries(self, data: object) -> None:
        """None: Redis lets results expire by itself, and the list holds nothing that nobody asked for."""
