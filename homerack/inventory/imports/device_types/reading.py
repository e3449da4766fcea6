"""Device types of the public library of NetBox and Nautobot (https://github.com/netbox-community/devicetype-library).

`read_device_types` reads the contents of files; it opens no database, and writes nothing. It refuses by name what it
does not understand: a field that is misspelt would otherwise be a device type without this value.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from operator import attrgetter

from homerack.inventory.imports.device_types.documents import (
    Mapping,
    Node,
    Scalar,
    Sequence,
    UnreadableDocument,
    read_documents,
)
from homerack.inventory.imports.device_types.guess import guess_type
from homerack.inventory.imports.refusals import Refused, printable, quote
from homerack.inventory.placement import MAX_HEIGHT_U

MAX_FILE_BYTES = 1_000_000
"""The largest files of the public library have about 100 kB."""

MAX_FILES = 20_000
"""The public library has about 6,000 device types."""

MAX_TOTAL_BYTES = 30_000_000
"""Three times the device types of the public library. Reading takes about half a second for each MB."""

MAX_NAME = 200
"""Characters of the name of a brand, a model or a type of ports."""

MAX_PART_NUMBER = 100

MAX_DESCRIPTION = 20_000
MAX_FAULTS = 20
"""Faults of one device type that are named."""

MAX_KILOGRAMS, MAX_WATTS = 100_000, 1_000_000

KILOGRAMS = {"kg": 1.0, "g": 0.001, "lb": 0.45359237, "oz": 0.028349523125}

AIRFLOWS = (
    "front-to-rear",
    "rear-to-front",
    "left-to-right",
    "right-to-left",
    "side-to-rear",
    "rear-to-side",
    "bottom-to-top",
    "top-to-bottom",
    "passive",
    "mixed",
)

PORTS = {
    "interfaces": "",
    "console-ports": "console ",
    "console-server-ports": "console server ",
    "power-ports": "power ",
    "power-outlets": "outlet ",
    "front-ports": "front ",
    "rear-ports": "rear ",
}
"""The lists of ports, and what precedes their types: an RJ-45 socket for a console is none for a network."""

NOT_SOCKETS = frozenset({"virtual", "bridge", "lag"})
"""Types of interfaces that no cable can be connected to."""

TAKEN = {
    "manufacturer",
    "model",
    "part_number",
    "u_height",
    "weight",
    "weight_unit",
    "airflow",
    "subdevice_role",
    "description",
    "comments",
}
NOT_TAKEN = {
    "slug",
    "is_full_depth",
    "is_powered",
    "front_image",
    "rear_image",
    "module-bays",
    "device-bays",
    "inventory-items",
    "default_platform",
    "exclude_from_utilization",
    "tags",
    "custom_fields",
}
"""Fields of device types for which the inventory has none."""

NUMBER = re.compile(r"-?(\d{1,20}(\.\d{0,20})?|\.\d{1,20})", re.ASCII)
CONTROL = re.compile(r"[^\n\t\x20-\x7e\xa0-\U0010ffff]|[\u2028\u2029\ufeff\ufffe\uffff]")
TYPE = re.compile(r"[a-z0-9][a-z0-9._-]*", re.ASCII)
NULLS = frozenset({"", "~", "null", "Null", "NULL"})


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """A file to read. `name` is its path as users know it, in printable characters."""

    name: str
    content: bytes


@dataclass(frozen=True, kw_only=True)
class Found:
    """A device type, in the units of the inventory. None is unknown.

    `airflow` is one of `AIRFLOWS`. `ports` counts sockets by type: ``{"1000base-t": 24, "console rj-45": 1}``.
    `guessed_type` is the name of a kind of devices, such as ``Switch``.
    """

    source: str
    line: int
    manufacturer: str
    model: str
    part_number: str | None
    height_u: float | None
    weight_kg: float | None
    power_watts: float | None
    airflow: str | None
    ports: dict[str, int]
    description: str | None
    guessed_type: str


def read_device_types(files: Iterable[SourceFile | Refused]) -> list[Found | Refused]:
    """The device types of `files`, in their order, and what is refused. A document is refused with all its faults.

    A refusal among `files` is passed on. Reading ends, with a refusal, at `MAX_FILES` or `MAX_TOTAL_BYTES`.
    """
    results: list[Found | Refused] = []
    seen: dict[tuple[str, str], Found] = {}
    total = 0
    for number, file in enumerate(files, start=1):
        total += 0 if isinstance(file, Refused) else len(file.content)
        if number > MAX_FILES or total > MAX_TOTAL_BYTES:
            limit = f"{MAX_FILES:,} files" if number > MAX_FILES else f"{MAX_TOTAL_BYTES // 1_000_000} MB"
            reason = f"This file and those after it were not read: there are more than {limit}. Import fewer at a time."
            results.append(Refused(source=(file.source if isinstance(file, Refused) else file.name), reason=reason))
            break
        results += [file] if isinstance(file, Refused) else [without_twin(read, seen) for read in read_file(file)]
    return results


def without_twin(read: Found | Refused, seen: dict[tuple[str, str], Found]) -> Found | Refused:
    """Refuse a model that was read before, in this file or in another one."""
    if isinstance(read, Refused):
        return read
    first = seen.setdefault((read.manufacturer.casefold(), read.model.casefold()), read)
    if first is read:
        return read
    reason = f"This model was already read from {first.source}, line {first.line}."
    return Refused(source=read.source, line=read.line, field="model", reason=reason)


def read_file(file: SourceFile) -> Iterator[Found | Refused]:
    if len(file.content) > MAX_FILE_BYTES:
        yield Refused(source=file.name, reason=f"The file is larger than {MAX_FILE_BYTES // 1_000_000} MB.")
        return
    documents = 0
    try:
        for documents, document in enumerate(read_documents(file.content), start=1):  # noqa: B007  # counted
            yield from DocumentReader(file.name).read(document)
    except UnreadableDocument as error:
        yield Refused(source=file.name, line=error.line, field=printable(error.field), reason=error.reason)
    else:
        if not documents:
            yield Refused(source=file.name, reason="The file is empty.")


class DocumentReader:
    """Reads one document, and collects its faults in `refused`."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.refused: list[Refused] = []

    def read(self, fields: Node) -> list[Found] | list[Refused]:
        """One device type, or all faults."""
        if not isinstance(fields, Mapping):
            self.refuse(fields.line, "", "This is not a device type: it has no fields, such as manufacturer.")
            return self.refused
        for name in fields.values.keys() - TAKEN - NOT_TAKEN - PORTS.keys():
            self.refuse(fields.lines[name], name, "Device types have no field of this name.")
        role = self.choice(fields, "subdevice_role", ("parent", "child"))
        lists = {section: self.items(fields, section) for section in PORTS}
        sockets = {section: self.count(ports) for section, ports in lists.items()}
        model, height = self.name(fields, "model"), self.height(fields, is_child=role == "child")
        manufacturer, description = self.name(fields, "manufacturer"), self.description(fields)
        guessed = guess_type(
            manufacturer=manufacturer,
            model=model,
            description=description or "",
            sockets=sockets,
            height_u=height,
        )
        found = Found(
            source=self.source,
            line=fields.line,
            manufacturer=manufacturer,
            model=model,
            part_number=self.text(fields, "part_number", MAX_PART_NUMBER),
            height_u=height,
            weight_kg=self.weight(fields),
            power_watts=self.power(lists["power-ports"], feeds_others=bool(lists["power-outlets"])),
            airflow=self.choice(fields, "airflow", AIRFLOWS),
            ports={PORTS[section] + kind: number for section in PORTS for kind, number in sockets[section].items()},
            description=description,
            guessed_type=guessed,
        )
        return self.first_faults() or [found]

    def first_faults(self) -> list[Refused]:
        """In the order of their lines. A file may consist of nothing but faults."""
        faults = sorted(self.refused, key=attrgetter("line"))
        if (more := len(faults) - MAX_FAULTS) > 0:
            faults[MAX_FAULTS:] = [Refused(source=self.source, reason=f"The file has {more:,} more faults.")]
        return faults

    def refuse(self, line: int, field: str, reason: str) -> None:
        self.refused.append(Refused(source=self.source, line=line, field=printable(field), reason=reason))

    # --- Values of any mapping -----------------------------------------------------------------------------------
    def scalar(self, fields: Mapping, name: str) -> Scalar | None:
        """None where the field is missing, empty or refused."""
        node = fields.values.get(name)
        if isinstance(node, Scalar):
            return None if node.is_plain and node.text in NULLS else node
        if node is not None:
            self.refuse(fields.lines[name], name, "This field has one value.")
        return None

    def text(self, fields: Mapping, name: str, limit: int, *, lines: bool = False) -> str | None:
        """Without the white space around it; of several lines only if `lines`."""
        scalar = self.scalar(fields, name)
        text = "\n".join(scalar.text.split("\r\n")).strip() if scalar else ""
        if len(text) > limit:
            self.refuse(fields.lines[name], name, f"The text has more than {limit:,} characters.")
        elif CONTROL.search(text) if lines else not text.isprintable():
            self.refuse(fields.lines[name], name, f"{quote(text)} has characters that cannot be shown.")
        return text or None

    def name(self, fields: Mapping, name: str) -> str:
        text = self.text(fields, name, MAX_NAME)
        if text is None and isinstance(fields.values.get(name), Scalar | None):
            self.refuse(fields.lines.get(name, fields.line), name, "This field is missing or empty.")
        return text or ""

    def number(self, fields: Mapping, name: str, limit: int) -> float | None:
        scalar = self.scalar(fields, name)
        if scalar is None:
            return None
        if not NUMBER.fullmatch(scalar.text):
            self.refuse(scalar.line, name, f"{quote(scalar.text)} is not a number.")
        elif not 0 <= float(scalar.text) <= limit:
            self.refuse(scalar.line, name, f"{quote(scalar.text)} is not between 0 and {limit:,}.")
        else:
            return float(scalar.text)
        return None

    def choice(self, fields: Mapping, name: str, choices: Collection[str]) -> str | None:
        scalar = self.scalar(fields, name)
        if scalar is None:
            return None
        if scalar.text not in choices:
            self.refuse(scalar.line, name, f"{quote(scalar.text)} is none of {', '.join(choices)}.")
        return scalar.text

    def items(self, fields: Mapping, name: str) -> list[Mapping]:
        """The items of a list of mappings."""
        node = fields.values.get(name)
        if isinstance(node, Sequence):
            for item in node.items:
                if not isinstance(item, Mapping):
                    self.refuse(item.line, name, "Each port of this list has fields, such as name and type.")
            return [item for item in node.items if isinstance(item, Mapping)]
        if isinstance(node, Mapping) or self.scalar(fields, name):
            self.refuse(fields.lines[name], name, "This field is a list of ports.")
        return []

    # --- Fields of a device type ---------------------------------------------------------------------------------
    def height(self, fields: Mapping, *, is_child: bool) -> float | None:
        """In units. A device that is mounted in another one has 0 if the file does not say otherwise."""
        height = self.number(fields, "u_height", MAX_HEIGHT_U)
        if height is None:
            return 0 if is_child else None
        if height % 0.5:
            self.refuse(fields.lines["u_height"], "u_height", "Heights are whole or half units, such as 1 or 1.5.")
        return height

    def weight(self, fields: Mapping) -> float | None:
        """In kg, rounded to a milligram."""
        weight = self.number(fields, "weight", MAX_KILOGRAMS)
        unit = self.choice(fields, "weight_unit", KILOGRAMS)
        if weight is None:
            return None
        if unit is None:
            self.refuse(fields.lines["weight"], "weight", f"A weight needs a weight_unit: {', '.join(KILOGRAMS)}.")
        return round(weight * KILOGRAMS.get(unit or "", 0), 6)

    def power(self, ports: Iterable[Mapping], *, feeds_others: bool) -> float | None:
        """In W: the sum of what the power ports draw at most, or are allocated where the maximum is unknown.

        None where no port has either, and for devices with power outlets, whose ports draw for other devices too.
        """
        draws = [
            allocated if maximum is None else maximum
            for port in ports
            for maximum in [self.number(port, "maximum_draw", MAX_WATTS)]
            for allocated in [self.number(port, "allocated_draw", MAX_WATTS)]
        ]
        known = [draw for draw in draws if draw is not None]
        return None if feeds_others or not known else sum(known)

    def count(self, ports: Iterable[Mapping]) -> Counter[str]:
        """The number of sockets of each type."""
        counts: Counter[str] = Counter()
        for port in ports:
            kind = self.name(port, "type")
            if kind and not TYPE.fullmatch(kind):
                self.refuse(port.lines["type"], "type", f"{quote(kind)} is no type of ports, such as 1000base-t.")
            elif kind not in NOT_SOCKETS:
                counts[kind] += 1
        return counts

    def description(self, fields: Mapping) -> str | None:
        """The description and the comments."""
        texts = [self.text(fields, name, MAX_DESCRIPTION, lines=True) for name in ("description", "comments")]
        return "\n\n".join(text for text in texts if text) or None
