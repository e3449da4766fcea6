"""What a door calls: one function for each kind of run, which holds the lock, is recorded, and returns what happened.

All take the site, a request whose `arguments` can be kept as JSON (a task gets no more than a run's id), and a
listener.
"""

from ops.operations.backing_up import BackedUp, Pruned, Verified, back_up, prune, verdicts_now, verify
from ops.operations.common import Done, as_json
from ops.operations.restoring import (
    Beside,
    LetGo,
    drop_undo,
    find_source,
    let_go_of_undo,
    restore,
    restore_beside,
    undo_restore,
)
from ops.operations.site import Site, current_site
from ops.operations.syncing import Synced, sync

__all__ = [
    "BackedUp",
    "Beside",
    "Done",
    "LetGo",
    "Pruned",
    "Site",
    "Synced",
    "Verified",
    "as_json",
    "back_up",
    "current_site",
    "drop_undo",
    "find_source",
    "let_go_of_undo",
    "prune",
    "restore",
    "restore_beside",
    "sync",
    "undo_restore",
    "verdicts_now",
    "verify",
]
