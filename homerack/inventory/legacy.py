"""What files of the older HomeRack (SQLAlchemy) look like, for `manage.py migrate_to_postgres`."""

from ops.transfer.legacy import LegacyFormat

FORMAT = LegacyFormat(name="legacy HomeRack", signature=frozenset(), tables=())
