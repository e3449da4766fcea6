"""The rules about several rows: devices in racks, and cables in ports. They see the rows as they will be stored.

A rule is applied to what changes, in the order of the lines, as if the rows were saved one after the other; but a
row that gives its place away never blocks another.
"""

from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from django.core.exceptions import ValidationError

from homerack.inventory.models import Cable, DeviceModel, Rack, RackPosition
from homerack.inventory.models.cabling import TWO_PORTS, describe_end, same_port, taken_message
from homerack.inventory.models.catalogue import SIZE_FIELDS
from homerack.inventory.models.positions import locked_message, raise_placement_errors
from homerack.inventory.models.racks import FIELDS as RACK_FIELDS
from homerack.inventory.placement import Dimension, Placement, PlacementError, Size, Space, find_placement_errors
from homerack.inventory.spreadsheets.faults import Faults
from homerack.inventory.spreadsheets.rows import SheetRow
from homerack.inventory.spreadsheets.tables import CABLES, CHUNK, DEVICES, MODELS, RACKS
from homerack.search import upper

RACK, START_U, LOCKED = (DEVICES.index(name) for name in ("rack", "start_u", "locked"))
PLACE_COLUMNS = {
    Dimension.HEIGHT: "start_u",
    Dimension.OVERLAP: "start_u",
    Dimension.WIDTH: "rack",
    Dimension.DEPTH: "rack",
}
"""The column that shows an error of each kind."""


class Placed(NamedTuple):
    """A device in a rack, as it will be. `order` is that of the rows that change; -1 for one that stays as it is."""

    placement: Placement
    order: int
    row: SheetRow | None
    model: Any


# --- devices in racks -----------------------------------------------------------------------------------------------
def check_places(
    models: Sequence[SheetRow], racks: Sequence[SheetRow], devices: Sequence[SheetRow], faults: Faults
) -> None:
    """Report devices that do not fit at new places, and racks and models whose new sizes do not fit."""
    for row in devices:
        check_place(row, faults)
    resized = {row.pk: row for row in models if row.pk and touches(row, SIZE_FIELDS.values())}
    narrowed = {row.pk: row for row in racks if row.pk and touches(row, RACK_FIELDS.values())}
    moved = [row for row in devices if is_placed(row) and (place_changes(row) or model_changes(row))]
    moved = [row for row in moved if (row, "start_u") not in faults.cells]
    if not moved and not resized and not narrowed:
        return
    sizes, spaces = read_sizes(models), read_spaces(racks)
    affected = {row.targets[1] for row in moved} | set(narrowed) | racks_of_models(resized)
    planned = {row.pk: row for row in devices if row.pk}
    stored = read_positions({rack for rack in affected if isinstance(rack, int)})
    orders = {row: number for number, row in enumerate(moved)}
    in_racks: dict[Any, list[Placed]] = defaultdict(list)
    for rack, device, start_u, name, model in stored:
        if device not in planned:
            in_racks[rack].append(Placed(placement_of(name, sizes.get(model), start_u), -1, None, model))
    for row in devices:
        if is_placed(row) and row.targets[1] in affected:
            placement = placement_of(row.values[0], sizes.get(row.targets[0]), row.values[START_U])
            in_racks[row.targets[1]].append(Placed(placement, orders.get(row, -1), row, row.targets[0]))
    before = errors_before(stored) if resized else set()
    too_large: dict[Any, list[PlacementError]] = defaultdict(list)
    for rack, placed in in_racks.items():
        too_large_here = check_rack(rack, spaces[rack], placed, narrowed, resized, faults)
        for model, errors in too_large_here.items():
            too_large[model] += [error for error in errors if error not in before]
    for model, errors in too_large.items():
        report(resized[model], errors, SIZE_FIELDS, faults)


def check_place(row: SheetRow, faults: Faults) -> None:
    """The rules of a place alone: rack and unit, and whether the device is locked."""
    field = RackPosition._meta.get_field("start_u")
    rack, start_u, locked = row.targets[1], row.values[START_U], row.values[LOCKED]
    if rack is None and (start_u is not None or locked):
        faults.once(row, "rack", str(field.error_messages["null"]))
    elif rack is not None and place_changes(row):
        faults.once(row, "start_u", *DEVICES.columns[START_U].faults(start_u))
    if row.stored and row.stored.values[LOCKED] and (locked or rack is None) and place_changes(row):
        faults.at(row, "start_u", locked_message(row.stored.values[0], row.stored.values[START_U]))


def place_changes(row: SheetRow) -> bool:
    return (
        row.stored is None or row.targets[1] != row.stored.ids[1] or row.values[START_U] != row.stored.values[START_U]
    )


def model_changes(row: SheetRow) -> bool:
    return row.stored is None or row.targets[0] != row.stored.ids[0]


def is_placed(row: SheetRow) -> bool:
    """Whether the row has a place that can be looked at. Others have a fault already."""
    return is_known(row.targets[1]) and isinstance(row.values[START_U], int)


def touches(row: SheetRow, names: Iterable[str]) -> bool:
    wanted = set(names)
    return any(row.table.columns[index].name in wanted for index in row.touched)


def placement_of(name: str | None, size: Size | None, start_u: int) -> Placement:
    return Placement(name=name or "The device", size=size or Size(height_u=0), start_u=start_u)


def read_sizes(rows: Iterable[SheetRow]) -> dict[Any, Size]:
    """By the keys of models, or the new rows, as they will be."""
    found = stored_sizes()
    height, width, depth = (MODELS.index(name) for name in ("height_u", "width_type", "depth_mm"))
    for row in rows:
        if isinstance(row.values[height], float | int):
            size = Size(height_u=row.values[height], width=row.values[width], depth_mm=row.values[depth])
            found[row.pk or row] = size
    return found


def stored_sizes() -> dict[Any, Size]:
    return {
        pk: Size(height_u=height, width=width, depth_mm=depth)
        for pk, height, width, depth in DeviceModel.objects.order_by().values_list(
            "pk", "height_u", "width_type", "depth_mm"
        )
    }


def read_spaces(rows: Iterable[SheetRow]) -> dict[Any, Space]:
    """By the keys of racks, or the new rows, as they will be."""
    found = stored_spaces()
    height, width, depth = (RACKS.index(name) for name in ("total_height_u", "width_inches", "depth_mm"))
    for row in rows:
        values = row.values
        found[row.pk or row] = make_space(values[0], values[height], values[width], values[depth])
    return found


def stored_spaces() -> dict[Any, Space]:
    columns = ("pk", "name", "total_height_u", "width_inches", "depth_mm")
    return {pk: make_space(*values) for pk, *values in Rack.objects.order_by().values_list(*columns)}


def make_space(name: str | None, height: int | None, width: str | None, depth: float | None) -> Space:
    return Space(name=name or "the rack", height_u=height, width=width, depth_mm=depth)


def racks_of_models(models: Collection[Any]) -> set[int]:
    positions = RackPosition.objects.filter(device__model__in=[*models]) if models else RackPosition.objects.none()
    return set(positions.order_by().values_list("rack_id", flat=True))


def read_positions(racks: Collection[int]) -> list[tuple[int, int, int, str, int]]:
    """Rack, device, unit, name and model of the stored positions."""
    columns = ("rack_id", "device_id", "start_u", "device__custom_name", "device__model_id")
    keys = sorted(racks)
    return [
        row
        for start in range(0, len(keys), CHUNK // 4)
        for row in RackPosition.objects.filter(rack__in=keys[start : start + CHUNK // 4])
        .order_by("pk")
        .values_list(*columns)
        .iterator(chunk_size=CHUNK)
    ]


def check_rack(
    rack: Any,
    space: Space,
    placed: list[Placed],
    narrowed: Mapping[Any, SheetRow],
    resized: Mapping[Any, SheetRow],
    faults: Faults,
) -> dict[Any, list[PlacementError]]:
    """Report what does not fit into one rack. Returns the errors of models that change their sizes."""
    in_unit: dict[int, list[Placed]] = defaultdict(list)
    for each in placed:
        for unit in each.placement.units:
            in_unit[unit].append(each)
    of_rack: list[PlacementError] = []
    of_models: dict[Any, list[PlacementError]] = defaultdict(list)
    changed_space = {
        found for found, name in RACK_FIELDS.items() if rack in narrowed and touches(narrowed[rack], [name])
    }
    for each in placed:
        is_resized = each.model in resized
        if each.order < 0 and not changed_space and not is_resized:
            continue
        others = {
            id(other): other.placement
            for unit in each.placement.units
            for other in in_unit[unit]
            if other is not each and (is_resized if each.order < 0 else other.order <= each.order)
        }
        for error in find_placement_errors(each.placement, space, others.values()):
            if each.order >= 0 and each.row is not None:
                column = "model" if not place_changes(each.row) else PLACE_COLUMNS[error.dimension]
                faults.at(each.row, column, error.message)
            elif error.dimension in changed_space:
                of_rack.append(error)
            elif is_resized:
                of_models[each.model].append(error)
    if of_rack:
        report(narrowed[rack], of_rack, RACK_FIELDS, faults)
    return of_models


def errors_before(stored: Iterable[Any]) -> set[PlacementError]:
    """The rules that the stored rows break: rows of a legacy file may be corrected one after the other."""
    sizes, spaces = stored_sizes(), stored_spaces()
    by_rack: dict[int, list[Placement]] = defaultdict(list)
    for rack, _device, start_u, name, model in stored:
        by_rack[rack].append(placement_of(name, sizes.get(model), start_u))
    return {
        error
        for rack, placements in by_rack.items()
        for each in placements
        for error in find_placement_errors(each, spaces[rack], [other for other in placements if other is not each])
    }


def report(row: SheetRow, errors: Iterable[PlacementError], fields: Mapping[Dimension, str], faults: Faults) -> None:
    try:
        raise_placement_errors(errors, fields)
    except ValidationError as error:
        for name, messages in error.message_dict.items():
            faults.at(row, name, *messages)


# --- cables ---------------------------------------------------------------------------------------------------------
FROM_PORT, TO_PORT = CABLES.index("from_port"), CABLES.index("to_port")
SIDES = ((0, 0, FROM_PORT, "from_port"), (1, 3, TO_PORT, "to_port"))
"""The reference of an end, its device's name, its port, and the name of that column."""


class Plugged(NamedTuple):
    """A cable in a port, as it will be. `order` is that of the rows that change; -1 for an end that stays."""

    label: str
    order: int
    row: SheetRow | None


def check_cables(rows: list[SheetRow], faults: Faults) -> None:
    """Report ports with two cables, and cables from a port to itself."""
    orders = {row: number for number, row in enumerate(row for row in rows if ends_change(row))}
    if not orders:
        return
    in_port = cables_in_ports(rows, orders)
    for row, order in orders.items():
        one, other = row.targets
        if one == other and is_known(one) and same_port(row.values[FROM_PORT], row.values[TO_PORT]):
            faults.at(row, "to_port", TWO_PORTS)
            continue
        for number, device_name, index, column in SIDES:
            device, port = row.targets[number], row.values[index]
            if not port or not is_known(device) or not end_changes(row, number, index):
                continue
            there = [each for each in in_port[device, upper(port)] if each.row is not row and each.order < order]
            if there:
                faults.at(row, column, taken_message(row.values[device_name], port, there[0].label))


def cables_in_ports(rows: Iterable[SheetRow], orders: Mapping[SheetRow, int]) -> dict[Hashable, list[Plugged]]:
    """The cables of the devices of the rows that change, by device and port, as they will be."""
    in_port: dict[Hashable, list[Plugged]] = defaultdict(list)
    planned = {row.pk for row in rows if row.pk}
    for pk, ends, label in read_cables({target for row in orders for target in row.targets if isinstance(target, int)}):
        if pk not in planned:
            for device, port in ends:
                in_port[device, upper(port or "")].append(Plugged(label, -1, None))
    for row in rows:
        for number, _, index, _ in SIDES:
            order = orders[row] if end_changes(row, number, index) else -1
            in_port[row.targets[number], upper(row.values[index] or "")].append(Plugged(row.label, order, row))
    return in_port


def is_known(target: object) -> bool:
    return isinstance(target, int | SheetRow)


def ends_change(row: SheetRow) -> bool:
    return any(end_changes(row, number, port) for number, _, port, _ in SIDES)


def end_changes(row: SheetRow, number: int, port: int) -> bool:
    return (
        row.stored is None
        or row.targets[number] != row.stored.ids[number]
        or row.values[port] != row.stored.values[port]
    )


def read_cables(devices: Collection[int]) -> Iterator[tuple[int, tuple[tuple[int, str | None], ...], str]]:
    """Key, ends and name of the stored cables of these devices."""
    columns = ("pk", "from_device_id", "from_port", "to_device_id", "to_port")
    names = ("from_device__custom_name", "to_device__custom_name")
    keys = sorted(devices)
    seen: set[int] = set()
    for side in ("from_device__in", "to_device__in"):
        for start in range(0, len(keys), CHUNK // 4):
            part = {side: keys[start : start + CHUNK // 4]}
            for pk, one, from_port, other, to_port, from_name, to_name in (
                Cable.objects.filter(**part).order_by("pk").values_list(*columns, *names).iterator(chunk_size=CHUNK)
            ):
                if pk not in seen:
                    seen.add(pk)
                    label = f"{describe_end(from_name, from_port)} to {describe_end(to_name, to_port)}"
                    yield pk, ((one, from_port), (other, to_port)), label
