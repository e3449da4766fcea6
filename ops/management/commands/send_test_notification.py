"""``manage.py send_test_notification``: whether notifications arrive."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ops.management.base import current_user
from ops.notifications import alerts
from ops.utils.printable import printable


class Command(BaseCommand):
    help = (
        "Send a test message to every address of NOTIFY_URLS and a heartbeat ping to HEARTBEAT_URL, and report each"
        " response. Exit code 1 when one of them failed."
    )
    requires_system_checks: list[str] = []  # noqa: RUF012  # Django's own way; it needs no database

    def handle(self, *_args: Any, **_options: Any) -> None:
        if not alerts.is_configured():
            raise CommandError(
                "No notification targets configured: NOTIFY_URLS and HEARTBEAT_URL are not set. Nothing was sent."
            )
        answers = alerts.send_test(current_user())
        for answer in answers:
            mark = "✓" if answer.accepted else "✗"
            self.stdout.write(printable(f"{mark} {answer.target}: {answer.said}"))
        failed = [answer.target for answer in answers if not answer.accepted]
        if failed:
            raise CommandError(printable(f"Failed: {', '.join(failed)}. Check the addresses in NOTIFY_URLS."))
