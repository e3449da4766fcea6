from django.apps import AppConfig
from django.db.models.signals import post_migrate

from homerack.history.schedule import make_schedule
from ops.signals import database_restored


class HistoryConfig(AppConfig):
    name = "homerack.history"
    verbose_name = "History"

    def ready(self) -> None:
        from homerack.history.restores import record_restore  # noqa: PLC0415  # needs the models

        post_migrate.connect(make_schedule, sender=self)
        database_restored.connect(record_restore, dispatch_uid="record_restore")
