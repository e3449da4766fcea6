"""``manage.py backup_database``: calls `ops.operations.back_up`."""

from django.core.management.base import CommandParser

from ops.management.base import OperationCommand, add_backup_dir


class Command(OperationCommand):
    handler = "ops.management.handlers.backup_database"
    help = (
        "Back up the database: a consistent snapshot, compressed, and verified by reading it back and comparing the"
        " row counts of all tables. Backups outside the retention policy are deleted afterwards."
    )
    examples = """
  Back up now:
    manage.py backup_database
  Before an upgrade, and exempt it from the retention policy:
    manage.py backup_database --note "before the upgrade" --keep
  From cron, to another disk:
    manage.py backup_database --backup-dir /mnt/disk/backups --json
"""

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        add = parser.add_argument
        add("--note", default="", metavar="TEXT", help="a note that is shown in lists")
        add("--keep", action="store_true", help="pin the backup: it is never pruned")
        add("--no-compress", action="store_true", help="do not compress the file")
        add(
            "--format",
            choices=("plain", "custom"),
            default="plain",
            help="custom: a file for pg_restore (PostgreSQL only)",
        )
        add_backup_dir(parser, "store it")
        add("--retention-days", type=int, metavar="N", help="keep backups for N days (default: BACKUP_RETENTION_DAYS)")
