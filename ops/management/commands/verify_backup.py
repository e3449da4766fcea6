"""``manage.py verify_backup``: the door to `ops.operations.verify`."""

from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser
from rich.console import Console

from ops import operations
from ops.errors import PreconditionFailed
from ops.management import output
from ops.management.base import NOT_PROVEN, OperationCommand, new_run
from ops.management.progress import get_reporter
from ops.models import Run


class Command(OperationCommand):
    help = (
        "Prove backups anew. Each is read back in full: checksum, compression, end marker, rows of every table. With"
        " --restore it is loaded into a scratch database, migrated and compared by content: a drill."
    )
    examples = """
  Does the newest backup restore?
    manage.py verify_backup --latest --restore
  Read all of them back, from cron:
    manage.py verify_backup --all --json
"""

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        which = parser.add_mutually_exclusive_group(required=True)
        which.add_argument("name", nargs="?", metavar="NAME", help="a backup of list_backups, or how its name begins")
        which.add_argument("--latest", action="store_true", help="the newest one")
        which.add_argument("--all", action="store_true", help="every one")
        parser.add_argument("--restore", action="store_true", help="a drill: restore it into a scratch database")
        parser.add_argument("--backup-dir", type=Path, metavar="DIR", help="default: the storage in the settings")

    def operate(self, console: Console, options: dict[str, Any]) -> tuple[dict[str, Any], int]:
        site = operations.get_context(directory=options["backup_dir"])
        kind = Run.Kind.DRILL if options["restore"] else Run.Kind.VERIFICATION
        asked = new_run(kind, names=chosen(site, options), restore=options["restore"])
        with get_reporter(console) as report:
            done = operations.verify(site, asked, report)
        output.show_found(console, done.found)
        output.show_proofs(console, done.result.proofs)
        return done.as_json(), 0 if done.result.passed else NOT_PROVEN


def chosen(site: operations.OpsContext, options: dict[str, Any]) -> list[str]:
    """The names to verify. Raises PreconditionFailed when there is none."""
    if options["name"]:
        return [site.catalogue.get(options["name"]).name]
    names = [entry.name for entry in site.catalogue.entries()]
    if not names:
        raise PreconditionFailed("There is no backup to verify.", "Make one: manage.py backup_database")
    return names if options["all"] else names[:1]
