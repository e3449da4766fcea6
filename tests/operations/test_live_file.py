"""No operation opens the live SQLite file itself: closing it would end the locks that SQLite has in the process.

Another process could then delete the write-ahead log that this one uses (sqlite.org/howtocorrupt.html, 2.2).
"""

import json
import shutil
from pathlib import Path

from tests.celery.support import manage

PROGRAM = """
import json, os, sys, traceback
from django.conf import settings
from django.core.management import call_command
from ops import operations
from ops.models import Run
from ops.runs.context import get_context

live = str(settings.DATABASES["default"]["NAME"])
opened = []

def watch(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes, os.PathLike)):
        path, _, flags = arguments
        # With O_EXCL nothing is opened that is there.
        if os.path.realpath(os.fsdecode(path)) == live and not flags & os.O_EXCL:
            opened.append("".join(traceback.format_stack(limit=4)))

sys.addaudithook(watch)
with open(os.devnull, "w") as nowhere:
    sys.stdout = sys.stderr = nowhere
    call_command("backup_database")
    call_command("verify_backup", latest=True, restore=True)
    call_command("restore_database", latest=True, yes=True)
    call_command("undo_restore", yes=True)
    call_command("drop_previous_database", yes=True)
    call_command("prune_backups")
    call_command("rebuild_backup_index")
    operations.preflight(get_context(), Run(kind=Run.Kind.PREFLIGHT, requested_by="ada"))
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
open(live, "rb").close()
print(json.dumps(opened))
"""


def test_operations_do_not_open_the_live_file_themselves(migrated: Path, tmp_path: Path) -> None:
    shutil.copy(migrated / "homerack.db", tmp_path)
    done = manage(tmp_path, "shell", "--no-imports", "--command", PROGRAM, BACKUP_DIR=str(tmp_path / "backups"))
    assert done.returncode == 0, done.stderr
    *by_operations, by_test = json.loads(done.stdout)
    assert by_operations == []
    assert "<string>" in by_test
