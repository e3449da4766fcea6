"""``manage.py remove_demo``: deletes the demo lab."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from homerack.inventory.demo import describe
from homerack.inventory.demo.removal import DemoChanged, Removal, find_removal, remove_demo

NOT_CONFIRMED = 5


class Command(BaseCommand):
    help = (
        "Delete the demo lab. Rows that were changed stay, and so do those that other rows use. They are listed first."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--yes", action="store_true", help="do not ask")

    def handle(self, *_args: Any, yes: bool, **_options: Any) -> None:
        removal = find_removal()
        self.show(removal)
        if not removal:
            return
        if not yes:
            self.confirm()
        try:
            removed = remove_demo()
        except DemoChanged as error:
            message = "The demo lab was changed meanwhile. Nothing was deleted. Run it again: manage.py remove_demo"
            raise CommandError(message) from error
        self.stdout.write(f"Deleted the demo lab: {describe(removed.numbers)}.")

    def show(self, removal: Removal) -> None:
        if not removal:
            self.stdout.write("There is nothing of the demo lab to delete.")
        else:
            self.stdout.write(f"To be deleted: {describe(removal.numbers)}.")
        for kept in removal.kept:
            self.stdout.write(f"Stays: {kept.kind} {kept.name} ({kept.reason})")

    def confirm(self) -> None:
        try:
            answer = input("To confirm, type yes: ")
        except EOFError:
            answer = ""
        if answer.strip() != "yes":
            raise CommandError(
                "Not confirmed. Nothing was deleted. To skip the question: --yes", returncode=NOT_CONFIRMED
            )
