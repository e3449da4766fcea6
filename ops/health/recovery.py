"""Whether encrypted backups can be read when this machine is lost: recovery kits, their proofs, and unknown keys."""

from django.db import connections

from ops.backups.encryption import recipient_of, valid_recipients
from ops.backups.locations.location import read_settings
from ops.backups.recovery_kit import Concern, RecoveryKit, find_concerns
from ops.conf import conf
from ops.errors import OpsError
from ops.health.database import with_health_deadline
from ops.health.results import CheckResult, Status
from ops.keys import keys_from_settings, recovery_kits_from_settings
from ops.models import Backup
from ops.utils import clock


def encrypts() -> bool:
    """Whether a storage location is encrypted. Raises PreconditionFailed for invalid settings."""
    return any(location.encrypted for location in read_settings(conf.BACKUP_LOCATIONS))


def recipients_by_backup(alias: str = "default") -> dict[str, tuple[str, ...]]:
    """The public keys that each encrypted backup was encrypted to, the newest first. Raises database errors."""
    rows = Backup.objects.using(alias).filter(recipients__isnull=False).order_by("-taken_at")
    return {name: tuple(recipients or ()) for name, recipients in rows.values_list("name", "recipients")}


def read_kits() -> tuple[RecoveryKit, ...]:
    """All kits, also withdrawn ones. Raises OpsError."""
    return recovery_kits_from_settings().read()


def read_concerns(alias: str = "default") -> list[Concern]:
    """What should be done about keys. Raises database errors."""
    try:
        return concerns_of(read_kits(), alias)
    except OpsError as error:
        return [unusable(error)]


def concerns_of(kits: tuple[RecoveryKit, ...], alias: str = "default") -> list[Concern]:
    """As `read_concerns`, for `kits` that were read. Raises also OpsError for invalid settings."""
    return find_concerns(
        kits,
        now=clock.now(),
        encrypts=encrypts(),
        persons=valid_recipients(conf.BACKUP_AGE_RECIPIENTS),
        identities=[recipient_of(identity) for identity in conf.BACKUP_AGE_IDENTITY],
        signing_key=keys_from_settings().known[0].id,
        backups=recipients_by_backup(alias),
    )


def unusable(error: OpsError) -> Concern:
    return Concern(code="UnusableKeys", text=error.message, hint=error.hint)


def check_recovery(alias: str) -> CheckResult:
    """Degraded while something should be done about keys. Raises database errors."""
    with with_health_deadline(connections[alias]):
        concerns = read_concerns(alias)
    if not concerns:
        return CheckResult()
    detail = " ".join(f"{concern.text} {concern.hint}" for concern in concerns)
    return CheckResult(status=Status.DEGRADED, error=concerns[0].code, detail=detail)
