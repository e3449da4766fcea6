"""A backup as it is found: its manifest, what is wrong with it, and where its copies are."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from ops.backups.manifest import Manifest, Origin, Sha256
from ops.backups.signing import Trust
from ops.errors import ArtifactInvalid
from ops.utils.schema import Count, Moment, Text

LOCAL = "local"
"""The name of the first storage location, the directory BACKUP_DIR."""
MISSING = "Its data file is missing."
LIST_THEM = "`manage.py list_backups` shows all of them."


class Copy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A data file in a storage location, as it was when it was last read in full: at `verified_at`, with this SHA-256.

    `size` is bytes. `error` says what was wrong with it then; such a copy does not count.
    """

    sha256: Sha256
    size: Count
    verified_at: Moment
    error: Text = ""

    @property
    def is_good(self) -> bool:
        return not self.error


@dataclass(frozen=True, kw_only=True)
class BackupRecord:
    """A backup as the repository finds it. `fault` says why it cannot be restored, and is '' for a good one."""

    name: str
    manifest: Manifest | None
    """None where its file is damaged; `fault` says how."""
    trust: Trust
    file_missing: bool = False
    fault: str = ""
    local_fault: str = ""
    """What is wrong with the data file in this location; other locations may have good copies."""
    copies: Mapping[str, Copy] = field(default_factory=dict)
    """The copies in other locations, by name of the location, the nearest first."""
    unreachable: frozenset[str] = frozenset()
    """Locations that did not answer the last run."""

    @property
    def locations(self) -> tuple[str, ...]:
        """The locations that have a good copy and answered, the nearest first; then the others that have one."""
        here = () if self.local_fault else (LOCAL,)
        good = [name for name, copy in self.copies.items() if copy.is_good]
        return (*here, *sorted(good, key=self.unreachable.__contains__))

    @property
    def reachable(self) -> tuple[str, ...]:
        """The locations that have a good copy and answered. Only these count."""
        return tuple(name for name in self.locations if name not in self.unreachable)

    @property
    def verified(self) -> bool:
        """Made here, its data file is there, and its newest verification passed."""
        if self.manifest is None or self.manifest.untrusted or self.manifest.origin is Origin.UPLOAD:
            return False
        verification = self.manifest.verification
        return bool(self.trust is Trust.SIGNED and not self.fault and verification and verification.passed)

    @property
    def good(self) -> bool:
        """Verified, and not suspicious, or decided to be right."""
        return self.verified and self.manifest is not None and not self.manifest.may_be_wrong

    def require_manifest(self) -> Manifest:
        if self.manifest is None:
            raise ArtifactInvalid(f"{self.name} has no readable manifest. {self.fault}", LIST_THEM)
        return self.manifest

    def require_file(self) -> Manifest:
        """The manifest of a backup whose data file is there. Raises ArtifactInvalid."""
        manifest = self.require_manifest()
        if self.fault:
            raise ArtifactInvalid(f"{self.name} cannot be read. {self.fault}", LIST_THEM)
        return manifest


def newest_first(record: BackupRecord) -> tuple[bool, float, str]:
    """A sort key: the time of the snapshot, descending; without a manifest last."""
    if record.manifest is None:
        return True, 0, record.name
    return False, -record.manifest.taken_at.timestamp(), record.name
