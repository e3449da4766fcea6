"""``manage.py send_test_notification``: sends a test to every notification target."""

from importlib import import_module
from typing import Any

from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = (
        "Send a test notification to every target and a ping to the heartbeat monitor, and show each response. They are"
        " in NOTIFY_URLS and HEARTBEAT_URL, or on the page of notifications. The exit code is 1 when one of them fails."
    )
    requires_system_checks: list[str] = []  # noqa: RUF012  # Django's own way; it needs no database

    def handle(self, **_options: Any) -> None:
        import_module("ops.management.handlers.send_test_notification").handle(self)
