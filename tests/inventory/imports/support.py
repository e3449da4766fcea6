"""Device types for tests."""

import io
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from homerack.inventory.imports.device_types.reading import Found, SourceFile, read_device_types
from homerack.inventory.imports.device_types.sources import files_of
from homerack.inventory.imports.refusals import Refused

FOLDERS = [parent / "shared" / "data" / "device-types" for parent in Path(__file__).resolve().parents]
PUBLIC_FILES = next((folder for folder in FOLDERS if folder.is_dir()), None)
"""810 files of the public library, next to the checkout on some machines."""

SWITCH = """\
---
manufacturer: Acme Networks
model: AX-24
slug: acme-networks-ax-24
part_number: 0123
u_height: 1
is_full_depth: false
weight: 2.5
weight_unit: lb
airflow: front-to-rear
front_image: true
description: A switch
comments: |
  [Data sheet](https://acme.example/ax-24)
console-ports:
  - name: Console
    type: rj-45
power-ports:
  - name: PSU 1
    type: iec-60320-c14
    maximum_draw: 40
    allocated_draw: 30
  - name: PSU 2
    type: iec-60320-c14
    maximum_draw: 40
interfaces:
  - name: Port 1
    type: 1000base-t
  - name: Port 2
    type: 1000base-t
  - name: SFP
    type: 10gbase-x-sfpp
  - name: vlan1
    type: virtual
"""
"""With every field that is taken."""

PDU = """\
manufacturer: Acme Power
model: Strip 2
u_height: 0
power-ports:
  - {name: In, type: iec-60320-c20, maximum_draw: 3680}
power-outlets:
  - {name: Out 1, type: iec-60320-c13}
  - {name: Out 2, type: iec-60320-c13}
"""


def public_files() -> Path:
    if PUBLIC_FILES is None:
        pytest.skip("the 810 device types of the public library are not next to the checkout")
    return PUBLIC_FILES


def device_type(**fields: object) -> str:
    """YAML with these fields; ``None`` leaves one out."""
    values = {"manufacturer": "Acme", "model": "A1", **fields}
    return "".join(
        f"{name.replace('_ports', '-ports')}: {value}\n" for name, value in values.items() if value is not None
    )


def read(*texts: str | bytes) -> list[Found | Refused]:
    """What is read of files named ``1.yaml``, ``2.yaml`` …"""
    contents = [text if isinstance(text, bytes) else text.encode() for text in texts]
    return read_device_types(
        SourceFile(name=f"{number}.yaml", content=content) for number, content in enumerate(contents, start=1)
    )


def found(text: str) -> Found:
    [result] = read(text)
    assert isinstance(result, Found), result
    return result


def refusals(*texts: str | bytes) -> list[str]:
    results = read(*texts)
    assert all(isinstance(result, Refused) for result in results), results
    return [str(result) for result in results]


def make_archive(files: Iterable[tuple[str, str | bytes]], *, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in files:
            archive.writestr(name, content)
    return buffer.getvalue()


def read_archive(content: bytes, name: str = "types.zip") -> list[Found | Refused]:
    return read_device_types(files_of(name, io.BytesIO(content)))
