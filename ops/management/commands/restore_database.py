"""``manage.py restore_database``: calls `ops.operations.restore`."""

from pathlib import Path

from django.core.management.base import CommandParser

from ops.management.base import OperationCommand, add_backup_dir


class Command(OperationCommand):
    handler = "ops.management.handlers.restore_database"
    help = (
        "Replace the live database by a backup. The backup is loaded into a staging database, compared with its"
        " manifest, migrated, and swapped in. The previous database is kept for undo_restore."
    )
    examples = """
  Restore the newest verified backup:
    manage.py restore_database --latest
  Read another copy than the nearest:
    manage.py restore_database database_20261120_020000.sql.gz --location nas
  Load an old backup into another database, without touching the live one:
    manage.py restore_database database_20261120_020000.sql.gz --to old_database
  Restore a file that pg_dump wrote elsewhere:
    manage.py restore_database --backup-file dump.sql --untrusted
"""

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        which = parser.add_mutually_exclusive_group(required=True)
        which.add_argument(
            "name", nargs="?", metavar="NAME", help="a backup of list_backups, or the beginning of its name"
        )
        which.add_argument("--latest", action="store_true", help="the newest verified backup")
        which.add_argument("--backup-file", type=Path, metavar="PATH", help="a file that is not in the list")
        add = parser.add_argument
        add(
            "--to", default="", metavar="DATABASE", help="load it into a new database of this name (SQLite: a new file)"
        )
        add("--location", default="", metavar="NAME", help="read the copy there (default: the nearest good one)")
        add("--yes", action="store_true", help="do not ask for confirmation")
        add(
            "--no-pre-backup",
            action="store_true",
            help="do not back up the database that is replaced; undo_restore works all the same",
        )
        add(
            "--backup-first",
            action="store_true",
            help="back it up before the swap, while writes are blocked, instead of after it (PostgreSQL)",
        )
        add(
            "--untrusted",
            action="store_true",
            help="accept a file without a valid signature: only the rows of its tables are loaded",
        )
        add_backup_dir(parser, "find NAME")
