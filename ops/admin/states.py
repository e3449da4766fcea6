"""What a backup is worth, in one word and a colour: the same for its badge, its page and the list's filter."""

from enum import Enum

from django.db.models import Q

from ops.backups.manifest import Level, Origin
from ops.backups.signing import Trust
from ops.models import Backup


class State(Enum):
    """Each with the words that people read and the kind of badge that unfold paints. The first that holds counts."""

    MISSING = "missing file", "danger"
    TAMPERED = "changed afterwards", "danger"
    FAILED = "failed", "danger"
    UPLOADED = "untrusted", "warning"
    FOREIGN = "not signed here", "warning"
    RESTORED = "proven by restore", "success"
    COMPLETE = "complete", "info"
    UNPROVEN = "unproven", "warning"

    @property
    def words(self) -> str:
        return self.value[0]

    @property
    def badge(self) -> str:
        return self.value[1]


RULES = {
    State.MISSING: Q(missing=True),
    State.TAMPERED: Q(trust=Trust.TAMPERED),
    State.FAILED: ~Q(proof_fault=""),
    State.UPLOADED: Q(origin=Origin.UPLOAD),
    State.FOREIGN: ~Q(trust=Trust.SIGNED),
    State.RESTORED: Q(proof_level=Level.RESTORED),
    State.COMPLETE: Q(proof_level=Level.READ),
    State.UNPROVEN: Q(),
}
"""In the order of their weight."""


def state_of(backup: Backup) -> State:
    """`RULES`, for a row in memory."""
    held = {
        State.MISSING: backup.missing,
        State.TAMPERED: backup.trust == Trust.TAMPERED,
        State.FAILED: bool(backup.proof_fault),
        State.UPLOADED: backup.origin == Origin.UPLOAD,
        State.FOREIGN: backup.trust != Trust.SIGNED,
        State.RESTORED: backup.proof_level == Level.RESTORED,
        State.COMPLETE: backup.proof_level == Level.READ,
    }
    return next((state for state, holds in held.items() if holds), State.UNPROVEN)


def rows_in(state: State) -> Q:
    """The rows whose badge is `state`: its own rule holds, and none before it."""
    condition = RULES[state]
    for earlier, rule in RULES.items():
        if earlier is state:
            break
        condition &= ~rule
    return condition


PROVEN = rows_in(State.RESTORED) | rows_in(State.COMPLETE)
