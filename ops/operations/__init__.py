"""What a door calls: one function for each kind of run, which holds the lock, is recorded, and returns what happened.

All take the site, a request whose `arguments` can be kept as JSON (a task gets no more than a run's id), and a listener.
"""

from ops.operations.backing_up import BackedUp, Pruned, Verified, back_up, prune, verify
from ops.operations.common import Done
from ops.operations.restoring import (
    Beside,
    LetGo,
    drop_undo,
    let_go_of_undo,
    restore,
    restore_beside,
    undo_restore,
)
from ops.operations.site import Site, current_site

__all__ = [
    "BackedUp",
    "Beside",
    "Done",
    "LetGo",
    "Pruned",
    "Site",
    "Verified",
    "back_up",
    "current_site",
    "drop_undo",
    "let_go_of_undo",
    "prune",
    "restore",
    "restore_beside",
    "undo_restore",
    "verify",
]
