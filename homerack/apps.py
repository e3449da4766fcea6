from django.apps import AppConfig, apps
from django.contrib import admin
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
    """Django's admin, on the site of `homerack.web.admin_site`, without the pages of django-celery-beat.

    Nobody schedules arbitrary tasks there: `ops` has a page for its schedules.
    """

    default = False
    default_site = "homerack.web.admin_site.HomeRackAdminSite"

    def ready(self) -> None:
        super().ready()
        models = apps.get_app_config("django_celery_beat").get_models()
        admin.site.unregister([model for model in models if admin.site.is_registered(model)])


class SchedulesConfig(BeatConfig):
    """django-celery-beat, whose periodic tasks are called schedules, as in the sidebar."""

    default = False
    verbose_name = "Schedules"

    def ready(self) -> None:
        super().ready()
        options = self.get_model("PeriodicTask")._meta
        options.verbose_name, options.verbose_name_plural = "schedule", "schedules"
