"""``manage.py verify_backup``: calls `ops.operations.verify`."""

from django.core.management.base import CommandParser

from ops.management.base import OperationCommand, add_backup_dir


class Command(OperationCommand):
    handler = "ops.management.handlers.verify_backup"
    help = (
        "Verify backups: each is read back in full, and its checksum, end marker and the row count of every table are"
        " checked. With --restore, each is restored into a scratch database, migrated, and its contents are compared."
    )
    examples = """
  Test a restore of the newest backup:
    manage.py verify_backup --latest --restore
  Test a restore from another storage location, and measure it:
    manage.py verify_backup --latest --restore --location nas
  Read all copies in a storage location back:
    manage.py verify_backup --all --location nas
  Read all backups back, from cron:
    manage.py verify_backup --all --json
"""

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        which = parser.add_mutually_exclusive_group(required=True)
        which.add_argument(
            "name", nargs="?", metavar="NAME", help="a backup of list_backups, or the beginning of its name"
        )
        which.add_argument("--latest", action="store_true", help="the newest backup of this kind of database")
        which.add_argument("--all", action="store_true", help="all backups of this kind of database")
        parser.add_argument(
            "--restore",
            action="store_true",
            help="restore test: restore into a scratch database and compare the contents",
        )
        parser.add_argument(
            "--location", default="", metavar="NAME", help="read the copies there (default: the nearest good ones)"
        )
        add_backup_dir(parser, "verify backups")
