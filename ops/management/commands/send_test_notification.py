"""``manage.py send_test_notification``: sends a test to every notification target."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ops.management.base import current_user
from ops.notifications import alerts
from ops.utils.printable import printable


class Command(BaseCommand):
    help = (
        "Send a test notification to every target and a ping to the heartbeat monitor, and show each response. They are"
        " in NOTIFY_URLS and HEARTBEAT_URL, or on the page of notifications. The exit code is 1 when one of them fails."
    )
    requires_system_checks: list[str] = []  # noqa: RUF012  # Django's own way; it needs no database

    def handle(self, *_args: Any, **_options: Any) -> None:
        if not alerts.is_configured():
            raise CommandError(
                "No notification targets configured: set NOTIFY_URLS or HEARTBEAT_URL, or add a target on the page of"
                " notifications. Nothing was sent."
            )
        deliveries = alerts.send_test(current_user())
        for delivery in deliveries:
            mark = "✓" if delivery.accepted else "✗"
            self.stdout.write(printable(f"{mark} {delivery.target}: {delivery.response}"))
        failed = [delivery.target for delivery in deliveries if not delivery.accepted]
        if failed:
            raise CommandError(
                printable(f"Failed: {', '.join(failed)}. Check the addresses, or whether the services answer.")
            )
