"""``manage.py export_inventory`` and ``manage.py import_inventory``."""

import io
import json
import stat
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from homerack.inventory.models import Device, Rack
from tests.inventory.factories import make_device, make_rack, place
from tests.inventory.spreadsheets.support import write

pytestmark = pytest.mark.django_db


def run(command: str, *arguments: object, **options: Any) -> list[str]:
    output = io.StringIO()
    call_command(command, *map(str, arguments), stdout=output, **options)
    return output.getvalue().splitlines()


def test_an_export_is_private_replaces_nothing_and_can_be_imported(tmp_path: Path) -> None:
    place(make_device("nas"), make_rack(), 3)
    folder = tmp_path / "lab"
    assert run("export_inventory", folder, tables=["racks", "devices"]) == [
        f"Exported to {folder}: racks 1, devices 1."
    ]
    assert sorted(path.name for path in folder.iterdir()) == ["devices.csv", "racks.csv"]
    assert stat.S_IMODE((folder / "racks.csv").stat().st_mode) == 0o600
    with pytest.raises(CommandError, match=r"racks.csv exists already. Nothing was exported"):
        run("export_inventory", folder)
    run("export_inventory", tmp_path / "lab.xlsx")
    for path in (folder, tmp_path / "lab.xlsx"):
        assert run("import_inventory", path, dry_run=True)[-1] == "Would import nothing."


def test_a_plan_is_shown_and_confirmed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_rack("Main")
    file = write(tmp_path, racks="name,location\nMain,Attic\nNew,\n") / "racks.csv"
    shown = [
        f"{file}: racks, 2 rows (UTF-8, separated by commas)",
        "+ rack New",
        "~ rack Main: location – → Attic",
    ]
    assert run("import_inventory", file, dry_run=True) == [*shown, "Would import 1 new rack and 1 changed rack."]
    monkeypatch.setattr("builtins.input", lambda _prompt: "no")
    with pytest.raises(CommandError, match=r"Not confirmed. Nothing was imported") as caught:
        run("import_inventory", file)
    assert caught.value.returncode == 5
    monkeypatch.setattr("builtins.input", lambda _prompt: "yes")
    assert run("import_inventory", file) == [*shown, "Imported 1 new rack and 1 changed rack."]
    assert Rack.objects.get(name="Main").location == "Attic"


def test_faults_end_with_code_1_and_nothing_is_imported(tmp_path: Path) -> None:
    write(tmp_path, racks="name,height (U)\nA,1\nB,0\n", devices="name\nx\n")
    with pytest.raises(CommandError, match=r"2 faults in the files, named above. Nothing was imported.") as caught:
        run("import_inventory", tmp_path, yes=True)
    assert caught.value.returncode == 1
    assert not Rack.objects.exists()


def test_json_has_all(tmp_path: Path) -> None:
    make_rack("Main")
    file = write(tmp_path, racks="name,location\nMain,Attic\n") / "racks.csv"
    (line,) = run("import_inventory", file, json=True, yes=True)
    assert json.loads(line) == {
        "imported": True,
        "files": [f"{file}: racks, 1 row (UTF-8, separated by commas)"],
        "rows": [
            {
                "table": "racks",
                "row": "Main",
                "source": str(file),
                "line": 2,
                "new": False,
                "changes": [{"field": "location", "old": "–", "new": "Attic"}],
            }
        ],
        "unchanged": 0,
        "refused": [],
    }
    assert Rack.objects.get().location == "Attic"


def test_paths_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"none.csv: No such file or directory. Nothing was imported."):
        run("import_inventory", tmp_path / "none.csv")
    with pytest.raises(CommandError, match="There is no CSV or XLSX file"):
        run("import_inventory", tmp_path)
    assert not Device.objects.exists()
