from django.apps import AppConfig


class HistoryConfig(AppConfig):
    name = "homerack.history"
    verbose_name = "History"
