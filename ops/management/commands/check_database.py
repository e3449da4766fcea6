"""``manage.py check_database``: the report of ``/health/`` with all details, in a terminal or a start script."""

from argparse import ArgumentParser
from importlib import import_module
from typing import Any

from django.core.management.base import BaseCommand
from django.db import DEFAULT_DB_ALIAS


class Command(BaseCommand):
    help = (
        "Check the health of the database and of what the site depends on. Exit code: 0 healthy, 3 degraded (the site"
        " works, but needs attention), 4 maintenance (writes are blocked), 1 unhealthy."
    )
    requires_system_checks: list[str] = []  # noqa: RUF012  # Django's own way; system checks could need the database

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="print the report as one JSON object, for scripts")
        parser.add_argument(
            "--database",
            default=DEFAULT_DB_ALIAS,
            metavar="ALIAS",
            help="which database of DATABASES (default: %(default)s)",
        )
        parser.add_argument(
            "--wait",
            type=float,
            default=0,
            metavar="SECONDS",
            help="first wait up to this many seconds until the database can be reached (for start scripts)",
        )

    def handle(self, **options: Any) -> None:
        import_module("ops.management.handlers.check_database").handle(self, **options)
