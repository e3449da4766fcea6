"""What an import of device types changes in the catalogue: types of devices, brands and models."""

from collections.abc import Iterable
from typing import Any, Generic, TypeVar, cast

from django.db import transaction

from homerack.history.change_sets import change_set
from homerack.history.entry_points import EntryPoint
from homerack.inventory.demo.catalogue import TYPES
from homerack.inventory.imports.device_types.reading import Found
from homerack.inventory.imports.plan import Plan, PlanChanged, PlannedRow, carry_out, faults_of, fill
from homerack.inventory.imports.refusals import Refused
from homerack.inventory.models import Brand, DeviceModel, DeviceType
from homerack.inventory.models.choices import Airflow
from homerack.inventory.names import free_slug

NamedT = TypeVar("NamedT", bound=Brand | DeviceType)

AIRFLOW = {value.replace("back", "rear").replace("_", "-"): value for value in Airflow.values}
"""From NetBox's values to those of the inventory: ``front-to-rear`` is ``front_to_back``."""

NEEDED = ("inventory.add_brand", "inventory.add_devicemodel", "inventory.add_devicetype")
"""The permissions of users who may import."""

KNOWN_TYPES = {name: {"slug": slug, "color": color, "description": text} for name, slug, color, text in TYPES}


def plan_device_types(results: Iterable[Found | Refused], *, device_type: DeviceType | None = None) -> Plan[PlannedRow]:
    """The plan for what `read_device_types` has read. New models get `device_type`, or the type that was guessed.

    A model is in the catalogue if there is one whose brand and name are the same, in upper or lower case. Its type is
    not changed: that of the file is a guess.
    """
    planner = Planner(device_type)
    refused = [
        fault for result in results for fault in ([result] if isinstance(result, Refused) else planner.add(result))
    ]
    return Plan(rows=(*planner.types.added, *planner.brands.added, *planner.models), refused=tuple(refused))


def import_device_types(
    results: Iterable[Found | Refused],
    *,
    device_type: DeviceType | None = None,
    overwrite: bool = False,
    seen: str | None = None,
) -> Plan[PlannedRow]:
    """Plan and carry out in one transaction; returns what was done. With `overwrite`, models that differ are changed.

    `seen` is the digest of the plan that the user has seen; PlanChanged is raised if there is another one by now.
    Raises ImportRefused if another user saves a row of the plan at the same time.
    """
    with transaction.atomic(), change_set(EntryPoint.IMPORT):
        plan = plan_device_types(results, device_type=device_type)
        if seen not in {None, plan.digest}:
            raise PlanChanged(plan)
        carry_out(plan, overwrite=overwrite)
    return plan


def summarize(row: PlannedRow) -> str:
    """What a new model is like: ``Switch, 1 U, 2.5 kg, 80 W``."""
    model = cast("DeviceModel", row.instance)
    values = ((model.height_u, "U"), (model.weight_kg, "kg"), (model.power_watts, "W"))
    return ", ".join([str(model.device_type), *(f"{value:g} {unit}" for value, unit in values if value is not None)])


def find_type(name: str) -> DeviceType | None:
    """By its name or its short name, in upper or lower case."""
    types = DeviceType.objects.order_by("pk")
    return next((each for each in types if key(name) in {key(each.name), key(each.slug)}), None)


def key(*names: str | None) -> str:
    """Equal for names that users take for the same."""
    return " ".join(" ".join(name for name in names if name).split()).casefold()


class NamedRows(Generic[NamedT]):
    """The stored rows of a model by their names, and the new ones of the plan in `added`."""

    def __init__(self, model: type[NamedT]) -> None:
        self.model = model
        stored: list[Any] = list(model._default_manager.order_by("-pk"))
        self.rows: dict[str, NamedT] = {key(row.name): row for row in stored}
        self.slugs: dict[str, NamedT] = {row.slug: row for row in stored}
        self.added: list[PlannedRow] = []

    def find(self, name: str, slug: str = "") -> NamedT | None:
        return self.rows.get(key(name)) or self.slugs.get(slug)

    def make(self, name: str, **values: Any) -> NamedT:
        """A new row, which is no part of the plan yet."""
        return self.model(**{"name": name, "slug": free_slug(self.model, name, self.slugs), **values})

    def keep(self, row: NamedT, found: Found) -> None:
        """Add `row` to the plan, if it is new."""
        if row._state.adding and key(row.name) not in self.rows:
            self.rows[key(row.name)] = self.slugs[row.slug] = row
            planned = PlannedRow(
                instance=row, label=row.name, source=found.source, line=found.line, is_new=True, changed={}
            )
            self.added.append(planned)


class Planner:
    """Compares device types with the catalogue. `models` are the planned rows of models."""

    def __init__(self, device_type: DeviceType | None) -> None:
        self.device_type = device_type
        self.brands, self.types = NamedRows(Brand), NamedRows(DeviceType)
        # Of two models of one name, that without a variant, and the older one, is found.
        models = sorted(
            DeviceModel.objects.select_related("brand", "device_type"), key=lambda model: (not model.variant, -model.pk)
        )
        self.stored = {(key(model.brand.name), key(model.name, model.variant)): model for model in models}
        self.models: list[PlannedRow] = []

    def add(self, found: Found) -> list[Refused]:
        """Add the model to the plan, with a brand and a type that it needs; or return the rules that it breaks."""
        model = self.stored.get((key(found.manufacturer), key(found.model)))
        instance = model or self.make_model(found)
        changed = fill(instance, values_of(found))
        row = PlannedRow(
            instance=instance,
            label=str(instance),
            source=found.source,
            line=found.line,
            is_new=model is None,
            changed=changed,
        )
        faults = faults_of(row) if row.is_new or changed else []
        if not faults:
            self.models.append(row)
            self.brands.keep(instance.brand, found)
            self.types.keep(instance.device_type, found)
        return faults

    def make_model(self, found: Found) -> DeviceModel:
        brand = self.brands.find(found.manufacturer) or self.brands.make(found.manufacturer)
        return DeviceModel(name=found.model, brand=brand, device_type=self.device_type or self.guessed_type(found))

    def guessed_type(self, found: Found) -> DeviceType:
        name = found.guessed_type
        known = KNOWN_TYPES.get(name, {})
        return self.types.find(name, known.get("slug", "")) or self.types.make(name, **known)


def values_of(found: Found) -> dict[str, Any]:
    """By the fields of a model. None is unknown."""
    return {
        "part_number": found.part_number,
        "height_u": found.height_u,
        "weight_kg": found.weight_kg,
        "power_watts": found.power_watts,
        "airflow_pattern": AIRFLOW[found.airflow] if found.airflow else None,
        "typical_ports": found.ports or None,
        "description": found.description,
    }
