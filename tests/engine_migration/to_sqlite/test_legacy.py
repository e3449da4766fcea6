"""A lab of the older HomeRack goes to PostgreSQL, lives there, comes home to SQLite, and leaves again."""

import shutil
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model

from homerack.inventory.models import Cable, Device, Rack
from ops.databases.override import override_database, sqlite_wrapper
from tests.engine_migration import support
from tests.engine_migration.support import Database
from tests.engine_migration.test_legacy_homerack import PASSWORD, REAL_FILE, legacy_format
from tests.engine_migration.to_sqlite.test_round_trips import cells, rows_of

__all__ = ("legacy_format",)


@pytest.mark.skipif(not REAL_FILE.exists(), reason="the shared legacy file is not on this machine")
def test_lab_of_the_older_program_lives_in_postgresql_and_comes_home(
    tmp_path: Path, nowhere: Database, database: Database, new: Path
) -> None:
    lab = Path(shutil.copy(REAL_FILE, tmp_path))
    support.migrate(lab, nowhere)
    with override_database(nowhere.address.wrapper()):
        live_there()
    support.come_back(new, nowhere)
    with override_database(sqlite_wrapper(str(new))) as wrapper:
        wrapper.check_constraints()
        assert Rack.objects.get(name="New rack").pk == Rack.objects.latest("pk").pk
        assert Rack.objects.create(name="Newer rack").pk == Rack.objects.get(name="New rack").pk + 2
        Rack.objects.filter(name="Newer rack").delete()
    support.migrate(new, database)
    ours, theirs = rows_of(nowhere), rows_of(database)
    # A rack was created and deleted in SQLite, which its history tells.
    ours.pop("sequences"), theirs.pop("sequences")
    for name in ("history_changeset", "inventory_historicalrack"):
        before, after = {*ours.pop(name)}, {*theirs.pop(name)}
        assert before < after
        assert len(after - before) == 2
    assert theirs == ours
    home = new.with_name("home.db")
    support.come_back(home, database)
    assert cells(home) == cells(new)
    with override_database(sqlite_wrapper(str(home))):
        assert get_user_model().objects.get(email="admin@lampadas.local").check_password(PASSWORD)


def live_there() -> None:
    """Edit, create and delete rows, the last ones too."""
    for device in Device.objects.all():
        device.notes = "Ätna\n„moved“ \\N"
        device.save()
    Rack.objects.create(name="New rack")
    Rack.objects.create(name="Last rack").delete()
    Cable.objects.latest("pk").delete()
