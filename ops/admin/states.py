"""What a backup is worth, in one word and a colour: the same for its badge, its page and the list's filter."""

from enum import Enum

from django.db.models import Q

from ops.backups.manifest import Level, Origin
from ops.backups.signing import Trust
from ops.models import Backup


class State(Enum):
    """Each with the words that users read and the kind of badge that unfold paints. The first that holds counts."""

    MISSING = "file missing", "danger"
    TAMPERED = "tampered with", "danger"
    FAILED = "failed", "danger"
    UPLOADED = "untrusted", "warning"
    FOREIGN = "not signed here", "warning"
    RESTORED = "restore tested", "success"
    READ = "verified", "info"
    UNVERIFIED = "unverified", "warning"

    @property
    def words(self) -> str:
        return self.value[0]

    @property
    def badge(self) -> str:
        return self.value[1]


RULES = {
    State.MISSING: Q(file_missing=True),
    State.TAMPERED: Q(trust=Trust.TAMPERED),
    State.FAILED: ~Q(verification_error=""),
    State.UPLOADED: Q(origin=Origin.UPLOAD),
    State.FOREIGN: ~Q(trust=Trust.SIGNED),
    State.RESTORED: Q(verified_level=Level.RESTORED),
    State.READ: Q(verified_level=Level.READ),
    State.UNVERIFIED: Q(),
}
"""In the order of their weight."""


def state_of(backup: Backup) -> State:
    """`RULES`, for a row in memory."""
    held = {
        State.MISSING: backup.file_missing,
        State.TAMPERED: backup.trust == Trust.TAMPERED,
        State.FAILED: bool(backup.verification_error),
        State.UPLOADED: backup.origin == Origin.UPLOAD,
        State.FOREIGN: backup.trust != Trust.SIGNED,
        State.RESTORED: backup.verified_level == Level.RESTORED,
        State.READ: backup.verified_level == Level.READ,
    }
    return next((state for state, holds in held.items() if holds), State.UNVERIFIED)


def rows_in(state: State) -> Q:
    """The rows whose badge is `state`: its own rule holds, and none before it."""
    condition = RULES[state]
    for earlier, rule in RULES.items():
        if earlier is state:
            break
        condition &= ~rule
    return condition
