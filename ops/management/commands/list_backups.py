"""``manage.py list_backups``: reads the manifests in the storage; the database may be down."""

from django.core.management.base import CommandParser

from ops.management.base import OperationCommand, add_backup_dir


class Command(OperationCommand):
    handler = "ops.management.handlers.list_backups"
    help = (
        "List the backups: time, size and rows, how each was verified, where its copies are, and why it is kept or"
        " would be deleted."
    )
    examples = """
  All backups:
    manage.py list_backups
  The name of the newest backup, in a script:
    manage.py list_backups --json | jq -r '.backups[0].name'
"""

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        add_backup_dir(parser, "list the backups")
