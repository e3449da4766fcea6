"""``manage.py import_device_types``."""

import io
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from homerack.inventory.models import Brand, DeviceModel
from tests.inventory.factories import make_type
from tests.inventory.imports.support import PDU, SWITCH, device_type, make_archive, public_files

pytestmark = pytest.mark.django_db


@pytest.fixture
def library(tmp_path: Path) -> Path:
    (tmp_path / "Acme").mkdir()
    (tmp_path / "Acme" / "ax-24.yaml").write_text(SWITCH)
    (tmp_path / "strip.yml").write_text(PDU)
    return tmp_path


def run(*paths: Path, **options: Any) -> list[str]:
    output = io.StringIO()
    call_command("import_device_types", *map(str, paths), stdout=output, **options)
    return output.getvalue().splitlines()


def run_with_faults(*paths: Path, **options: Any) -> tuple[list[str], str]:
    output = io.StringIO()
    with pytest.raises(CommandError) as caught:
        call_command("import_device_types", *map(str, paths), stdout=output, **options)
    return output.getvalue().splitlines(), str(caught.value)


def test_a_folder_is_imported_and_a_second_time_nothing(library: Path) -> None:
    assert run(library) == ["Imported 2 new device types, 2 new brands and 2 new models."]
    assert run(library) == ["In the catalogue already: 2.", "Imported nothing."]
    assert DeviceModel.objects.count() == 2


def test_a_dry_run_shows_the_models_and_imports_nothing(library: Path) -> None:
    assert run(library, dry_run=True) == [
        "+ Acme Networks AX-24 (Switch, 1 U, 1.13398 kg, 80 W)",
        "+ Acme Power Strip 2 (PDU, 0 U)",
        "Would import 2 new device types, 2 new brands and 2 new models.",
    ]
    assert not Brand.objects.exists()


def test_several_paths_and_an_archive(library: Path) -> None:
    (library / "types.zip").write_bytes(make_archive([("a.yaml", device_type())]))
    assert run(library / "types.zip", library / "strip.yml") == [
        "Imported 2 new device types, 2 new brands and 2 new models."
    ]


def test_models_that_differ_are_shown_and_kept(library: Path) -> None:
    run(library)
    DeviceModel.objects.filter(height_u=1).update(height_u=2)
    change = "~ Acme Networks AX-24: height (U) 2 → 1"
    assert run(library) == [
        change,
        "In the catalogue already: 1.",
        "With other values in the catalogue, which are kept: 1 (--overwrite replaces them).",
        "Imported nothing.",
    ]
    assert run(library, overwrite=True) == [change, "In the catalogue already: 1.", "Imported 1 changed model."]
    assert DeviceModel.objects.get(name="AX-24").height_u == 1


def test_faults_are_named_and_the_rest_is_imported(library: Path) -> None:
    (library / "bad.yaml").write_text(device_type(u_height="x"))
    lines, error = run_with_faults(library, library / "missing")
    assert lines == [
        "✗ bad.yaml, line 3, u_height: “x” is not a number.",
        f"✗ {library}/missing: The file cannot be read: No such file or directory.",
        "Imported 2 new device types, 2 new brands and 2 new models.",
    ]
    assert error == "2 faults in the files, named above. The device types with faults were not imported."
    assert DeviceModel.objects.count() == 2


def test_the_type_can_be_chosen(library: Path) -> None:
    make_type("patch_panel", name="Patch panel")
    for name in ("patch PANEL", "patch_panel"):
        assert run(library, type=name, dry_run=True)[0] == "+ Acme Networks AX-24 (Patch panel, 1 U, 1.13398 kg, 80 W)"
    lines, error = run_with_faults(library, type="Panel")
    assert lines == []
    assert error == ("There is no device type 'Panel'. Nothing was imported. The device types are: Patch panel.")


@pytest.mark.slow
def test_all_public_device_types_are_imported() -> None:
    assert run(public_files()) == ["Imported 11 new device types, 28 new brands and 810 new models."]
