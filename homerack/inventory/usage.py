"""How full racks are, counted by the database: for lists, where rack by rack would take long."""

from django.db.models import Case, Count, F, FloatField, QuerySet, Sum, Value, When
from django.db.models.functions import Ceil, Coalesce

from homerack.inventory.models import Rack
from homerack.inventory.models.devices import SUPPLIES_POWER


def effective(name: str) -> Coalesce:
    """`Device.effective`, in SQL, for the devices in a rack."""
    model, specification = f"positions__device__model__{name}", f"positions__device__specification__{name}"
    return Coalesce(F(model), F(specification), Value(0.0), output_field=FloatField())


DRAWS_WATTS = Case(
    When(positions__device__model__device_type__slug=SUPPLIES_POWER, then=Value(0.0)), default=effective("power_watts")
)


def with_usage(racks: QuerySet[Rack]) -> QuerySet[Rack]:
    """`racks` with ``devices_count``, ``used_u``, ``used_watts`` and ``used_kg``."""
    return racks.annotate(
        devices_count=Count("positions"),
        used_u=Sum(Ceil(effective("height_u"))),
        used_watts=Sum(DRAWS_WATTS),
        used_kg=Sum(effective("weight_kg")),
    )
