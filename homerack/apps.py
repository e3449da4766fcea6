from django.apps import AppConfig
from django.contrib.admin import apps as django_admin
from django_celery_beat.apps import BeatConfig


class HomeRackConfig(AppConfig):
    name = "homerack"
    default = True
    verbose_name = "HomeRack"

    def ready(self) -> None:
        from homerack import celery, search  # noqa: F401, PLC0415  # importing registers the app, and the lookups
        from homerack.config import checks  # noqa: F401, PLC0415  # importing registers the checks


class HomeRackAdminConfig(django_admin.AdminConfig):
    """Django's admin, on the site of `homerack.web.admin_site`."""

    default = False
    default_site = "homerack.web.admin_site.HomeRackAdminSite"


class SchedulesConfig(BeatConfig):
    """django-celery-beat, whose periodic tasks are called schedules, as in the sidebar."""

    default = False
    verbose_name = "Schedules"

    def ready(self) -> None:
        super().ready()
        options = self.get_model("PeriodicTask")._meta
        options.verbose_name, options.verbose_name_plural = "schedule", "schedules"
