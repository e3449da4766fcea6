"""One backup as the repository finds it."""

from dataclasses import dataclass

from ops.backups.manifest import Manifest, Origin
from ops.backups.signing import Trust
from ops.errors import ArtifactInvalid


@dataclass(frozen=True, kw_only=True)
class BackupRecord:
    """One manifest of the repository. `fault` says why it can not be restored from, and is empty for a good one."""

    name: str
    manifest: Manifest | None
    """None where the file is broken; `fault` says how."""
    trust: Trust
    file_missing: bool = False
    """The data file is gone."""
    fault: str = ""

    @property
    def verified(self) -> bool:
        """Made here, its data file in place, and its newest proof passed."""
        if self.manifest is None or self.manifest.untrusted or self.manifest.origin is Origin.UPLOAD:
            return False
        proof = self.manifest.verification
        return bool(self.trust is Trust.SIGNED and not self.fault and proof and proof.passed)

    def require_manifest(self) -> Manifest:
        if self.manifest is None:
            raise ArtifactInvalid(
                f"{self.name} has no manifest that can be read. {self.fault}",
                "`manage.py list_backups` shows all of them.",
            )
        return self.manifest


def age(entry: BackupRecord) -> tuple[bool, float, str]:
    """Sorts by the moment of the snapshot, the newest first."""
    if entry.manifest is None:
        return True, 0, entry.name
    return False, -entry.manifest.taken_at.timestamp(), entry.name
