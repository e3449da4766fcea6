"""Imports the admin classes of all apps with the URLs, and not in each process, as Django's own `AdminConfig` does.

Commands and workers show no pages, and would spend most of their start on them.
"""

from typing import Any

from django.apps import apps
from django.contrib import admin
from django.contrib.admin.checks import check_admin_app
from django.core.checks import CheckMessage


def discover() -> None:
    """Register the admin classes, without those of django-celery-beat: `ops` has a page for its schedules."""
    admin.autodiscover()
    models = apps.get_app_config("django_celery_beat").get_models()
    admin.site.unregister([model for model in models if admin.site.is_registered(model)])


def check_admin_classes(**options: Any) -> list[CheckMessage]:
    """Django's check of all admin classes. No other check needs to have imported the URLs before."""
    discover()
    return check_admin_app(**options)
