from django.apps import AppConfig


class OpsConfig(AppConfig):
    name = "ops"
    verbose_name = "Database"

    def ready(self) -> None:
        from ops import checks  # noqa: F401, PLC0415  # importing registers them; they need the models
