from django.apps import AppConfig


class HomeRackConfig(AppConfig):
    name = "homerack"
    verbose_name = "HomeRack"

    def ready(self) -> None:
        from homerack import celery, checks  # noqa: F401, PLC0415  # the app and the checks are known once imported
