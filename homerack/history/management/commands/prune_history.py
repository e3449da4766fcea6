"""``manage.py prune_history``: deletes old history."""

import datetime as dt
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from homerack.history.pruning import prune


class Command(BaseCommand):
    help = "Delete the history of changes that is older than HISTORY_DAYS. The rows themselves are not changed."

    def add_arguments(self, parser: CommandParser) -> None:
        days = "keep the history of so many days (default: HISTORY_DAYS)"
        parser.add_argument("--days", type=int, metavar="DAYS", help=days)

    def handle(self, *_args: Any, days: int | None, **_options: Any) -> None:
        days = settings.HISTORY_DAYS if days is None else days
        if days < 1:
            raise CommandError(f"--days is {days}; the minimum is 1. Nothing was deleted.")
        changes = prune(before=timezone.now() - dt.timedelta(days=days))
        self.stdout.write(f"Deleted {changes} change{'' if changes == 1 else 's'} older than {days} days.")
