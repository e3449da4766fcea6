"""Changes of settings in the words of the pages on which they are made."""

from collections.abc import Mapping

from ops.runs.results import SettingChange

NUMBER_WORDS: Mapping[str, tuple[str, str]] = {
    "BACKUP_RETENTION_DAYS": ("Keep all backups for", "days"),
    "BACKUP_KEEP_DAILY": ("Keep one backup of each of the last", "days"),
    "BACKUP_KEEP_WEEKLY": ("Keep one backup of each of the last", "weeks"),
    "BACKUP_KEEP_MONTHLY": ("Keep one backup of each of the last", "months"),
    "BACKUP_KEEP_YEARLY": ("Keep one backup of each of the last", "years"),
    "UNDO_KEEP_DAYS": ("Keep the previous database of a restore for", "days"),
    "BACKUP_MAX_AGE_HOURS": ("Report the newest verified backup when it is older than", "hours"),
}
"""What each number means: the words before and after it."""
SECRET_NAMES: Mapping[str, str] = {"NOTIFY_URLS": "Targets of notifications", "HEARTBEAT_URL": "Heartbeat monitor"}


def describe_change(change: SettingChange) -> str:
    """``Keep all backups for … days: 30, before 7``."""
    name = name_of(change.name)
    if change.after == change.before:
        return f"{name}: replaced ({change.after})"
    return f"{name}: {change.after}, before {change.before}"


def name_of(setting: str) -> str:
    """``Keep all backups for … days``. Schedules are recorded with the names that users read."""
    if setting in NUMBER_WORDS:
        return " … ".join(NUMBER_WORDS[setting])
    return SECRET_NAMES.get(setting, setting)
