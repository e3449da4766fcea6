"""What ``manage.py send_test_notification`` does: sends a test to every notification target."""

from django.core.management.base import BaseCommand, CommandError

from ops.management.execution import current_user
from ops.notifications import alerts
from ops.utils.printable import printable


def handle(command: BaseCommand) -> None:
    if not alerts.is_configured():
        raise CommandError(
            "No notification targets configured: set NOTIFY_URLS or HEARTBEAT_URL, or add a target on the page of"
            " notifications. Nothing was sent."
        )
    deliveries = alerts.send_test(current_user())
    for delivery in deliveries:
        mark = "✓" if delivery.accepted else "✗"
        command.stdout.write(printable(f"{mark} {delivery.target}: {delivery.response}"))
    failed = [delivery.target for delivery in deliveries if not delivery.accepted]
    if failed:
        raise CommandError(
            printable(f"Failed: {', '.join(failed)}. Check the addresses, or whether the services answer.")
        )
