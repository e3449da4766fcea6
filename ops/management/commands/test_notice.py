"""``manage.py test_notice``: whether notices arrive."""

import getpass
import socket
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ops.notifications import alerts
from ops.utils.printable import printable


class Command(BaseCommand):
    help = (
        "Send a test to every address of NOTIFY_URLS and a sign of life to HEARTBEAT_URL, and say what each answered. "
        "Exit code 1 when one of them did not take it."
    )
    requires_system_checks: list[str] = []  # noqa: RUF012  # Django's own way; it needs no database

    def handle(self, *_args: Any, **_options: Any) -> None:
        if not alerts.is_configured():
            raise CommandError("Nobody is to be told: NOTIFY_URLS and HEARTBEAT_URL are not set. Nothing was sent.")
        answers = alerts.send_test(f"{getpass.getuser()} on {socket.gethostname()}")
        for answer in answers:
            mark = "✓" if answer.accepted else "✗"
            self.stdout.write(printable(f"{mark} {answer.target}: {answer.said}"))
        refused = [answer.target for answer in answers if not answer.accepted]
        if refused:
            raise CommandError(printable(f"Not taken: {', '.join(refused)}. Look at the addresses in NOTIFY_URLS."))
