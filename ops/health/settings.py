"""Whether the settings that are stored next to the backups are in use."""

from ops import stored_settings
from ops.errors import OpsError
from ops.health.results import CheckResult, Status
from ops.stored_settings import StoredSettingsIgnored


def check_settings() -> CheckResult:
    """Degraded while the file is ignored, or no key of this machine opens the targets in it."""
    try:
        stored_settings.decrypted(stored_settings.read())
    except StoredSettingsIgnored as error:
        return CheckResult(status=Status.DEGRADED, error="StoredSettingsIgnored", detail=error.text)
    except OpsError as error:
        detail = f"No notification is sent to the targets in {stored_settings.FILE}: {error.message} Enter them again."
        return CheckResult(status=Status.DEGRADED, error="UnreadableTargets", detail=detail)
    return CheckResult()
