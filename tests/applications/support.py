"""Applications from PyPI, each in a project of its own, which is the module of this directory with its name.

The module becomes the ``models.py`` of the project's app. Its function `fill` writes odd data through the interface of
the application, in SQLite. `check` returns what the application makes of them: it needs more than equal rows. It is
called in SQLite, in PostgreSQL after the migration, and after the restore of a backup.
"""

import dataclasses
import sys
from pathlib import Path

import pytest

from tests.support.projects import Project

PACKAGES = Path(sys.prefix) / "applications"
HERE = Path(__file__).parent
ABSENT = "the applications of PyPI are not installed: make test-slow"
FILL = """
import json, shop.models
from django.conf import settings
shop.models.fill()
(settings.BACKUP_DIR.parent / "checked.json").write_text(json.dumps(shop.models.check()))
"""
AFTER = """
import json, re, shop.models
from django.conf import settings
from django.core.management import call_command
from ops.backups.table_policy import never_from_untrusted_files
from tests.support.project_rows import differences, read_all

expected = json.loads((settings.BACKUP_DIR.parent / "checked.json").read_text())
extra = {"migrated": shop.models.check(), "expected": expected}
access = [name for name in connection.introspection.table_names() if re.search("token|grant|apikey", name)]
extra["access"] = [name for name in access if name not in never_from_untrusted_files()]
before = read_all()
call_command("backup_database")
(name,) = (path.name for path in settings.BACKUP_DIR.glob("*.gz"))
call_command("verify_backup", name, restore=True)
shop.models.change()
extra["changed"] = len(differences(before, read_all()))
call_command("restore_database", name, "--yes", "--no-pre-backup")
connection.close()  # it was to the previous database
extra["restored"] = shop.models.check()
extra["differences"] = differences(before, read_all())
"""


def application(name: str, **rest: object) -> Project:
    """The project of the module `name`."""
    if not PACKAGES.is_dir():
        pytest.skip(ABSENT)
    return dataclasses.replace(
        Project(path=[str(PACKAGES)], models=(HERE / f"{name}.py").read_text(), fill=FILL, after=AFTER), **rest
    )
