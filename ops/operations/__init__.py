"""One function for each kind of run: it holds the lock of the database, is recorded, and returns a typed result.

Importing this package registers all of them in `ops.runs.executor.OPERATIONS`.
"""

from ops.operations.backup import back_up
from ops.operations.backup_edits import change_backup, delete_backup
from ops.operations.copies import copy_backups, is_due
from ops.operations.decisions import decide_backup
from ops.operations.download import start_download
from ops.operations.findings import is_live
from ops.operations.index_retention import evaluate_index
from ops.operations.migrate import find_out, migrate, preflight, rehearse
from ops.operations.migrate_to_sqlite import make_sqlite_file, migrate_to_sqlite, rehearse_to_sqlite
from ops.operations.pre_restore import PreBackupFailed, describe_steps, is_made_afterwards, is_resumable
from ops.operations.prune import evaluate_retention, prune
from ops.operations.recovery import recover, require_empty
from ops.operations.recovery_kit import create_recovery_kit, prove_recovery_kit, withdraw_recovery_kit
from ops.operations.restore import (
    drop_previous_database,
    find_expired_previous,
    find_source,
    preview,
    restore,
    undo_restore,
)
from ops.operations.restore_rights import rights_of_undo
from ops.operations.restore_tests import restore_test
from ops.operations.retention_preview import preview_numbers
from ops.operations.settings import (
    add_target,
    change_heartbeat,
    change_numbers,
    change_schedules,
    remove_target,
)
from ops.operations.sqlite_files import delete_sqlite_files, files_expired, record_file_download
from ops.operations.upload import upload
from ops.operations.verify import newest_verified, verify

__all__ = [
    "PreBackupFailed",
    "add_target",
    "back_up",
    "change_backup",
    "change_heartbeat",
    "change_numbers",
    "change_schedules",
    "copy_backups",
    "create_recovery_kit",
    "decide_backup",
    "delete_backup",
    "delete_sqlite_files",
    "describe_steps",
    "drop_previous_database",
    "evaluate_index",
    "evaluate_retention",
    "files_expired",
    "find_expired_previous",
    "find_out",
    "find_source",
    "is_due",
    "is_live",
    "is_made_afterwards",
    "is_resumable",
    "make_sqlite_file",
    "migrate",
    "migrate_to_sqlite",
    "newest_verified",
    "preflight",
    "preview",
    "preview_numbers",
    "prove_recovery_kit",
    "prune",
    "record_file_download",
    "recover",
    "rehearse",
    "rehearse_to_sqlite",
    "remove_target",
    "require_empty",
    "restore",
    "restore_test",
    "rights_of_undo",
    "start_download",
    "undo_restore",
    "upload",
    "verify",
    "withdraw_recovery_kit",
]
