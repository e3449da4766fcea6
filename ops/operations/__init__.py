"""What a door calls: one function for each kind of run, which holds the lock, is recorded, and returns what happened.

All take the site, a request whose `arguments` can be kept as JSON (a task gets no more than a run's id), and a
listener.
"""

from ops.operations.backup import (
    BackedUp,
    Pruned,
    Verified,
    back_up,
    evaluate_retention,
    newest_verified,
    prune,
    verify,
)
from ops.operations.backup_edits import Changed, Deleted, change_backup, delete_backup, record_download
from ops.operations.context import OpsContext, get_context
from ops.operations.migrating import recorded_claims
from ops.operations.preflight import Preflight, examine_move
from ops.operations.restore import (
    Beside,
    LetGo,
    drop_expired_undo,
    drop_undo,
    find_source,
    restore,
    restore_beside,
    undo_restore,
)
from ops.operations.results import Done, as_json
from ops.operations.rights import rights_of_undo
from ops.operations.sync import Synced, sync
from ops.operations.upload import Uploaded, upload

__all__ = [
    "BackedUp",
    "Beside",
    "Changed",
    "Deleted",
    "Done",
    "LetGo",
    "OpsContext",
    "Preflight",
    "Pruned",
    "Synced",
    "Uploaded",
    "Verified",
    "as_json",
    "back_up",
    "change_backup",
    "delete_backup",
    "drop_expired_undo",
    "drop_undo",
    "evaluate_retention",
    "examine_move",
    "find_source",
    "get_context",
    "newest_verified",
    "prune",
    "record_download",
    "recorded_claims",
    "restore",
    "restore_beside",
    "rights_of_undo",
    "sync",
    "undo_restore",
    "upload",
    "verify",
]
