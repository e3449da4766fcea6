"""``manage.py list_recovery_kits``: the kits, and which encrypted backups each opens."""

from ops.management.base import OperationCommand


class Command(OperationCommand):
    handler = "ops.management.handlers.list_recovery_kits"
    help = "List the recovery kits: when each was made and proven, and how many encrypted backups it opens."
    examples = """
  All kits:
    manage.py list_recovery_kits
"""
