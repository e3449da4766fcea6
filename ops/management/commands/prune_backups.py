"""``manage.py prune_backups``: calls `ops.operations.prune`."""

from django.core.management.base import CommandParser

from ops.management.base import OperationCommand, add_backup_dir


class Command(OperationCommand):
    handler = "ops.management.handlers.prune_backups"
    help = (
        "Delete the backups outside the retention policy: those that are older than BACKUP_RETENTION_DAYS, and not kept"
        " as a daily, weekly, monthly or yearly one. The last verified backup is never deleted, and"
        " none after a failed backup."
    )
    examples = """
  Show what would be deleted, and why:
    manage.py prune_backups --dry-run
"""
    interrupted = "Interrupted. The live database was not changed; some backups may have been deleted."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        add = parser.add_argument
        add("--dry-run", action="store_true", help="show the decision for every backup; delete nothing")
        add_backup_dir(parser, "prune the backups")
        add("--retention-days", type=int, metavar="N", help="keep backups for N days (default: BACKUP_RETENTION_DAYS)")
