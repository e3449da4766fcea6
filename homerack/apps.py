from django.apps import AppConfig
from django.contrib.admin.apps import SimpleAdminConfig
from django.contrib.admin.checks import check_dependencies
from django.core.checks import Tags, register
from django_celery_beat.apps import BeatConfig

from homerack.web.admin_classes import check_admin_classes


class HomeRackConfig(AppConfig):
    name = "homerack"
    default = True
    verbose_name = "HomeRack"

    def ready(self) -> None:
        from homerack import celery, search  # noqa: F401, PLC0415  # importing registers the app, and the lookups
        from homerack.config import checks  # noqa: F401, PLC0415  # importing registers the checks


class HomeRackAdminConfig(SimpleAdminConfig):
    """Django's admin, on the site of `homerack.web.admin_site`. The URLs import its classes."""

    default = False
    default_site = "homerack.web.admin_site.HomeRackAdminSite"

    def ready(self) -> None:
        register(check_dependencies, Tags.admin)
        register(check_admin_classes, Tags.admin)


class SchedulesConfig(BeatConfig):
    """django-celery-beat, whose periodic tasks are called schedules, as in the sidebar."""

    default = False
    verbose_name = "Schedules"

    def ready(self) -> None:
        super().ready()
        options = self.get_model("PeriodicTask")._meta
        options.verbose_name, options.verbose_name_plural = "schedule", "schedules"
