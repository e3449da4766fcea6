"""``manage.py load_demo``: adds the demo lab."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from homerack.inventory import demo


class Command(BaseCommand):
    help = "Add the demo lab: three racks with 40 devices and 80 cables. Existing rows are not changed."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--if-empty", action="store_true", help="do nothing if there are users or an inventory")

    def handle(self, *_args: Any, if_empty: bool, **_options: Any) -> None:
        if if_empty and not demo.is_empty():
            self.stdout.write("HomeRack already has users or an inventory; the demo lab was not loaded.")
            return
        try:
            added = demo.load_demo()
        except ValidationError as error:
            reasons = " ".join(error.messages)
            message = f"The demo lab conflicts with rows of the inventory. Nothing was added. {reasons}"
            raise CommandError(message) from error
        parts = demo.describe(added)
        loaded = f"Added the demo lab: {parts}." if parts else "The demo lab is complete already; nothing was added."
        self.stdout.write(loaded)
