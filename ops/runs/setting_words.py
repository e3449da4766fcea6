"""Changes of settings in the words of the pages on which they are made."""

from collections.abc import Mapping

from ops.runs.results import SettingChange

NAMES: Mapping[str, str] = {
    "BACKUP_RETENTION_DAYS": "Keep all backups for … days",
    "BACKUP_KEEP_DAILY": "Keep one backup of each of the last … days",
    "BACKUP_KEEP_WEEKLY": "Keep one backup of each of the last … weeks",
    "BACKUP_KEEP_MONTHLY": "Keep one backup of each of the last … months",
    "BACKUP_KEEP_YEARLY": "Keep one backup of each of the last … years",
    "UNDO_KEEP_DAYS": "Keep the previous database of a restore for … days",
    "BACKUP_MAX_AGE_HOURS": "Report the newest verified backup when it is older than … hours",
    "NOTIFY_URLS": "Targets of notifications",
    "HEARTBEAT_URL": "Heartbeat monitor",
}
"""Schedules are recorded with the names that users read."""


def describe_change(change: SettingChange) -> str:
    """``Keep all backups for … days: 30, before 7``."""
    name = NAMES.get(change.name, change.name)
    if change.after == change.before:
        return f"{name}: replaced ({change.after})"
    return f"{name}: {change.after}, before {change.before}"
