"""The tables of an export: their columns, and the stored rows as values of these columns.

A row is identified by names, never by a number of the database. Where racks or devices share a name, and cables an
end, the column ``number`` tells them apart: 1, 2 … in the order in which they were added.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

from django.db import models

from homerack.accounts.models import User
from homerack.inventory.models import Brand, Cable, Device, DeviceModel, DeviceType, Rack, RackPosition
from homerack.inventory.spreadsheets.cells import Column, WholeNumberColumn, column_class
from homerack.search import upper

CHUNK = 2000
"""Rows that are read from the database, or written, at once."""


class Stored(NamedTuple):
    """A row of the database. `values` are those of the table's columns, `ids` the keys of the rows it refers to."""

    pk: int
    values: tuple[Any, ...]
    ids: tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Columns that name a row of another table. `columns` are those of its key, the first of them is needed.

    `attribute` is the foreign key of the model; its value is in `Stored.ids`, in the order of the references.
    """

    table: str
    columns: tuple[str, ...]
    attribute: str


@dataclass(frozen=True, kw_only=True)
class Table:
    """`numbered` is the column that tells rows of one key apart, if there is one."""

    name: str
    model: type[models.Model]
    columns: tuple[Column, ...]
    references: tuple[Reference, ...] = ()
    numbered: str = ""
    key: Callable[[Sequence[Any]], Hashable]
    label: Callable[[Sequence[Any]], str]
    reader: "Callable[[Table, models.QuerySet[Any]], Iterator[Stored]]"

    @property
    def title(self) -> str:
        return str(self.model._meta.verbose_name_plural)

    def index(self, column: str) -> int:
        return next(number for number, each in enumerate(self.columns) if each.name == column)

    def queryset(self) -> "models.QuerySet[Any]":
        """All rows, in the order of an export."""
        return self.model._default_manager.all()

    def read(self, rows: "models.QuerySet[Any] | None" = None) -> Iterator[Stored]:
        """The rows of `rows`, or all, in their order; `CHUNK` rows of them are in memory."""
        return self.reader(self, self.queryset() if rows is None else rows)


def make_columns(model: type[models.Model], *names: str, keys: Iterable[str] = ()) -> tuple[Column, ...]:
    return tuple(
        make_column(model, name, path=name, is_key=name in keys) if isinstance(name, str) else name for name in names
    )


def make_column(
    model: type[models.Model], name: str, *, header: str = "", column: str = "", path: str = "", is_key: bool = False
) -> Column:
    field: Any = model._meta.get_field(name)
    options = {"name": column or name, "header": header or str(field.verbose_name), "path": path, "is_key": is_key}
    return column_class(field)(field=field, **options)  # type: ignore[arg-type]


def number_column(header: str = "number", name: str = "number", *, is_key: bool = False) -> Column:
    return WholeNumberColumn(name=name, header=header, field=models.PositiveIntegerField(null=True), is_key=is_key)


def read_plain(table: Table, rows: "models.QuerySet[Any]") -> Iterator[Stored]:
    """A table whose columns are all fields."""
    paths = [column.path for column in table.columns]
    ids = [reference.attribute for reference in table.references]
    for pk, *values in rows.values_list("pk", *paths, *ids).iterator(chunk_size=CHUNK):
        yield Stored(pk, tuple(map(unify, values[: len(paths)])), tuple(values[len(paths) :]))


def unify(value: Any) -> Any:
    """Text that is empty is no value: forms store either."""
    return None if value == "" else value


def numbers_of(model: type[models.Model], name: str) -> dict[int, int]:
    """By their keys, the numbers of the rows that share a name."""
    named = model._default_manager.order_by()
    shared = named.values(name).annotate(rows=models.Count("pk")).filter(rows__gt=1).values(name)
    counted: Counter[str] = Counter()
    numbers = {}
    for pk, text in named.filter(**{f"{name}__in": shared}).order_by("pk").values_list("pk", name):
        counted[text] += 1
        numbers[pk] = counted[text]
    return numbers


def in_chunks(rows: Iterator[Any]) -> Iterator[list[Any]]:
    while chunk := list(islice(rows, CHUNK)):
        yield chunk


def read_racks(table: Table, rows: "models.QuerySet[Any]") -> Iterator[Stored]:
    numbers = numbers_of(Rack, "name")
    paths = [column.path for column in table.columns if column.path]
    for pk, name, *values in rows.values_list("pk", *paths).iterator(chunk_size=CHUNK):
        yield Stored(pk, (unify(name), numbers.get(pk), *map(unify, values)), ())


DEVICE_PATHS = (
    "custom_name",
    "model__brand__name",
    "model__name",
    "model__variant",
    "serial_number",
    "access_frequency",
    "notes",
)


def read_devices(_table: Table, rows: "models.QuerySet[Any]") -> Iterator[Stored]:
    """With the first position of each: ``ids`` are the keys of model, rack and position."""
    numbers, racks = numbers_of(Device, "custom_name"), numbers_of(Rack, "name")
    found = rows.values_list("pk", "model_id", *DEVICE_PATHS).iterator(chunk_size=CHUNK)
    for chunk in in_chunks(found):
        positions: dict[int, tuple[Any, ...]] = {}
        keys = [pk for pk, *_ in chunk]
        wanted = ("device_id", "pk", "rack_id", "rack__name", "start_u", "locked")
        for device, *position in (
            RackPosition.objects.filter(device__in=keys).order_by("-pk").values_list(*wanted).iterator()
        ):
            positions[device] = tuple(position)
        for pk, model, name, *values in chunk:
            position_pk, rack, rack_name, start_u, locked = positions.get(pk, (None,) * 5)
            place = (unify(rack_name), racks.get(rack), start_u, locked)
            yield Stored(pk, (unify(name), numbers.get(pk), *map(unify, values), *place), (model, rack, position_pk))


CABLE_PATHS = (
    "from_device__custom_name",
    "from_port",
    "to_device__custom_name",
    "to_port",
    "cable_type",
    "calculated_length_m",
    "routing_path",
)


def read_cables(_table: Table, rows: "models.QuerySet[Any]") -> Iterator[Stored]:
    devices, numbers = numbers_of(Device, "custom_name"), numbers_of_cables()
    found = rows.values_list("pk", "from_device_id", "to_device_id", *CABLE_PATHS)
    for pk, one, other, *values in found.iterator(chunk_size=CHUNK):
        from_name, from_port, to_name, to_port, *details = map(unify, values)
        ends = (from_name, devices.get(one), from_port, to_name, devices.get(other), to_port)
        yield Stored(pk, (*ends, numbers.get(pk), *details), (one, other))


def numbers_of_cables() -> dict[int, int]:
    counted: Counter[Hashable] = Counter()
    by_pk = {}
    ends = Cable.objects.order_by("pk").values_list("pk", "from_device_id", "from_port", "to_device_id", "to_port")
    for pk, one, from_port, other, to_port in ends.iterator(chunk_size=CHUNK):
        key = cable_key(one, from_port, other, to_port)
        counted[key] += 1
        by_pk[pk] = (key, counted[key])
    return {pk: number for pk, (key, number) in by_pk.items() if counted[key] > 1}


def cable_key(from_device: Hashable, from_port: str | None, to_device: Hashable, to_port: str | None) -> Hashable:
    """A port takes one cable, so the port where a cable begins identifies it; without a port, both of its ends do."""
    if from_port:
        return (from_device, upper(from_port))
    return (from_device, "", to_device, upper(to_port or ""))


def labelled(*indexes: int) -> Callable[[Sequence[Any]], str]:
    return lambda values: " ".join(str(values[index]) for index in indexes if values[index] is not None)


def numbered_label(values: Sequence[Any]) -> str:
    return f"{values[0] or ''} ({values[1]})" if values[1] is not None else str(values[0] or "")


def cable_label(values: Sequence[Any]) -> str:
    ends = ((values[0], values[2]), (values[3], values[5]))
    one, other = (f"{device or ''} · {port}" if port else str(device or "") for device, port in ends)
    return f"{one} to {other}"


TYPES = Table(
    name="types",
    model=DeviceType,
    columns=make_columns(DeviceType, "name", "slug", "description", "color", keys=["name"]),
    key=lambda values: values[0],
    label=labelled(0),
    reader=read_plain,
)
BRANDS = Table(
    name="brands",
    model=Brand,
    columns=make_columns(Brand, "name", "slug", "website", "support_url", "description", keys=["name"]),
    key=lambda values: values[0],
    label=labelled(0),
    reader=read_plain,
)
MODELS = Table(
    name="models",
    model=DeviceModel,
    columns=(
        make_column(Brand, "name", header="brand", column="brand", path="brand__name", is_key=True),
        *make_columns(DeviceModel, "name", "variant", keys=["name", "variant"]),
        make_column(DeviceType, "name", header="type", column="device_type", path="device_type__name"),
        *make_columns(
            DeviceModel,
            "part_number",
            "description",
            "height_u",
            "width_type",
            "depth_mm",
            "weight_kg",
            "mounting_type",
            "airflow_pattern",
            "power_watts",
            "heat_output_btu",
            "max_operating_temp_c",
            "typical_ports",
            "release_date",
            "end_of_life",
            "datasheet_url",
        ),
    ),
    references=(
        Reference(table="brands", columns=("brand",), attribute="brand_id"),
        Reference(table="types", columns=("device_type",), attribute="device_type_id"),
    ),
    key=lambda values: tuple(values[:3]),
    label=labelled(0, 1, 2),
    reader=read_plain,
)
RACKS = Table(
    name="racks",
    model=Rack,
    columns=(
        make_column(Rack, "name", path="name", is_key=True),
        number_column(is_key=True),
        *make_columns(
            Rack,
            "location",
            "total_height_u",
            "width_inches",
            "depth_mm",
            "max_weight_kg",
            "max_power_watts",
            "cooling_capacity_btu",
            "ambient_temp_c",
            "max_inlet_temp_c",
        ),
    ),
    numbered="number",
    key=lambda values: values[0],
    label=numbered_label,
    reader=read_racks,
)
DEVICES = Table(
    name="devices",
    model=Device,
    columns=(
        make_column(Device, "custom_name", path="custom_name", is_key=True),
        number_column(is_key=True),
        make_column(Brand, "name", header="brand", column="brand"),
        make_column(DeviceModel, "name", header="model", column="model"),
        make_column(DeviceModel, "variant", column="variant"),
        *make_columns(Device, "serial_number", "access_frequency", "notes"),
        make_column(Rack, "name", header="rack", column="rack"),
        number_column("rack number", "rack_number"),
        make_column(RackPosition, "start_u"),
        make_column(RackPosition, "locked"),
    ),
    references=(
        Reference(table="models", columns=("model", "brand", "variant"), attribute="model_id"),
        Reference(table="racks", columns=("rack", "rack_number"), attribute="rack_id"),
    ),
    numbered="number",
    key=lambda values: values[0],
    label=numbered_label,
    reader=read_devices,
)
CABLES = Table(
    name="cables",
    model=Cable,
    columns=(
        make_column(Device, "custom_name", header="from device", column="from_device", is_key=True),
        number_column("from device number", "from_device_number", is_key=True),
        make_column(Cable, "from_port", path="from_port", is_key=True),
        make_column(Device, "custom_name", header="to device", column="to_device", is_key=True),
        number_column("to device number", "to_device_number", is_key=True),
        make_column(Cable, "to_port", path="to_port", is_key=True),
        number_column(is_key=True),
        *make_columns(Cable, "cable_type", "calculated_length_m", "routing_path"),
    ),
    references=(
        Reference(table="devices", columns=("from_device", "from_device_number"), attribute="from_device_id"),
        Reference(table="devices", columns=("to_device", "to_device_number"), attribute="to_device_id"),
    ),
    numbered="number",
    key=lambda values: cable_key(values[0:2], values[2], values[3:5], values[5]),
    label=cable_label,
    reader=read_cables,
)
USERS = Table(
    name="users",
    model=User,
    columns=make_columns(User, "email", "full_name", "is_active", keys=["email"]),
    key=lambda values: str(values[0] or "").lower(),
    label=labelled(0),
    reader=read_plain,
)

TABLES = {table.name: table for table in (TYPES, BRANDS, MODELS, RACKS, DEVICES, CABLES, USERS)}
"""In the order of an import: what others refer to comes first."""


def table_of(model: type[models.Model]) -> Table:
    return next(table for table in TABLES.values() if table.model is model)
