"""``manage.py backup_database``: the door to `ops.operations.back_up`."""

from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser
from rich.console import Console

from ops import operations
from ops.management import output
from ops.management.base import OperationCommand, new_run
from ops.management.progress import get_reporter
from ops.models import Run


class Command(OperationCommand):
    help = (
        "Back the database up: one consistent snapshot, compressed, then read back in full and counted against the"
        " snapshot before it counts as a backup. Old backups are pruned afterwards."
    )
    examples = """
  Back up now:
    manage.py backup_database
  Before something risky, and keep it whatever the retention says:
    manage.py backup_database --note "before the move" --keep
  From cron, to another disk:
    manage.py backup_database --backup-dir /mnt/disk/backups --json
"""

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        add = parser.add_argument
        add("--note", default="", metavar="TEXT", help="a line that lists show beside it")
        add("--keep", action="store_true", help="never prune this one")
        add("--no-compress", action="store_true", help="write it plain")
        add("--format", choices=("plain", "custom"), default="plain", help="custom: for pg_restore -j; PostgreSQL only")
        add("--backup-dir", type=Path, metavar="DIR", help="where to (default: the storage in the settings)")
        add("--retention-days", type=int, metavar="N", help="prune what is older (default: BACKUP_RETENTION_DAYS)")

    def operate(self, console: Console, options: dict[str, Any]) -> tuple[dict[str, Any], int]:
        site = operations.get_context(directory=options["backup_dir"], retention_days=options["retention_days"])
        kind = site.kind(compress=not options["no_compress"], custom=options["format"] == "custom")
        asked = new_run(Run.Kind.BACKUP, kind=kind, note=options["note"], keep=options["keep"])
        with get_reporter(console) as report:
            done = operations.back_up(site, asked, report)
        output.show_found(console, done.found)
        manifest = done.result.manifest
        output.show_backup(console, manifest, where=site.engine.where, location=site.catalogue.location)
        output.show_pruned(console, done.result.verdicts)
        return done.as_json(), 0
