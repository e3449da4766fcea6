"""``manage.py rebuild_backup_index``: calls `ops.runs.executor.rebuild_index`."""

from ops.management.base import OperationCommand


class Command(OperationCommand):
    handler = "ops.management.handlers.rebuild_backup_index"
    help = (
        "Rebuild the admin's lists of backups and runs from the manifests and events in the storage. The files are not"
        " changed."
    )
    examples = """
  After files were copied into the backup directory by hand:
    manage.py rebuild_backup_index
"""
