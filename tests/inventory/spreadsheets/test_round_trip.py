"""Export, import into an empty database, export: nothing differs."""

import datetime as dt
import io
import os
from typing import Any

import pytest
from django.db import connection, models, transaction
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from homerack.accounts.models import User
from homerack.inventory.models import Brand, Cable, Device, DeviceModel, DeviceType, Rack, RackPosition
from homerack.inventory.models.choices import AccessFrequency, Airflow, CableType, RoutingPath, Width
from homerack.inventory.spreadsheets.cells import PortsColumn
from homerack.inventory.spreadsheets.files import SpreadsheetFile
from homerack.inventory.spreadsheets.tables import TABLES
from tests.inventory.factories import make_device
from tests.inventory.spreadsheets.support import as_files, carry_out, csv_file, export_csv, export_xlsx, refusals

pytestmark = pytest.mark.django_db
EXAMPLES = int(os.environ.get("ROUND_TRIPS", "5"))
FORMULAS = ["=1+1", "+49 30", "-48V", "@home", "\tx", "'=1", "''", "=", "\N{NO-BREAK SPACE}=", "#N/A", "sep=;"]
LIKE_OTHERS = ["007", "1e5", "1,5", "TRUE", "NaN", "2024-01-02", "_x000D_"]
BLANKS = [" a ", "  ", "a\r\nb", "a\rb", "a\nb", "\x01", "\ufffe", '"', "😀"]
SPECIAL = st.sampled_from([*FORMULAS, *LIKE_OTHERS, *BLANKS])
PLAIN = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8)
NAMES = SPECIAL | PLAIN
TEXTS = st.none() | NAMES
NUMBERS = (
    st.none() | st.floats(min_value=0, exclude_min=True, allow_infinity=False) | st.sampled_from([0.1, 1e300, 5e-324])
)


def choices(of: Any) -> Any:
    return st.none() | st.sampled_from([*of.values])


RACK = st.fixed_dictionaries(
    {
        "name": NAMES,
        "location": TEXTS,
        "total_height_u": st.none() | st.integers(50, 100),
        "width_inches": st.none() | st.just(Width.TWENTY_THREE_INCH.value),
        "depth_mm": st.none(),
        "max_weight_kg": NUMBERS,
        "max_power_watts": NUMBERS,
        "cooling_capacity_btu": NUMBERS,
        "ambient_temp_c": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "max_inlet_temp_c": NUMBERS,
    }
)
MODEL = st.fixed_dictionaries(
    {
        "name": NAMES,
        "variant": TEXTS,
        "part_number": TEXTS,
        "description": TEXTS,
        "height_u": st.sampled_from([0, 0.5, 1]),
        "width_type": choices(Width),
        "depth_mm": NUMBERS,
        "weight_kg": NUMBERS,
        "mounting_type": TEXTS,
        "airflow_pattern": choices(Airflow),
        "power_watts": NUMBERS,
        "heat_output_btu": NUMBERS,
        "max_operating_temp_c": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "typical_ports": st.none() | st.dictionaries(NAMES, st.integers(0, 10**6), max_size=3),
        "release_date": st.none() | st.dates(max_value=dt.date(2000, 1, 1)),
        "end_of_life": st.none() | st.dates(min_value=dt.date(2000, 1, 2)),
        "datasheet_url": st.none() | st.just("https://example.org/=a"),
    }
)
DEVICE = st.fixed_dictionaries(
    {"custom_name": NAMES, "serial_number": TEXTS, "access_frequency": choices(AccessFrequency), "notes": TEXTS}
)
CABLE = st.fixed_dictionaries(
    {
        "from_port": TEXTS,
        "to_port": TEXTS,
        "cable_type": choices(CableType),
        "calculated_length_m": NUMBERS,
        "routing_path": choices(RoutingPath),
    }
)
LAB = st.fixed_dictionaries(
    {
        "texts": st.lists(st.tuples(NAMES, TEXTS), min_size=1, max_size=3, unique_by=lambda each: each[0]),
        "racks": st.lists(RACK, min_size=1, max_size=3),
        "models": st.lists(MODEL, min_size=1, max_size=3, unique_by=lambda each: (each["name"], each["variant"])),
        "devices": st.lists(DEVICE, max_size=5),
        "cables": st.lists(CABLE, max_size=4),
        "users": st.lists(
            st.tuples(st.emails(), st.just("") | NAMES, st.booleans()),
            max_size=2,
            unique_by=lambda each: each[0].lower(),
        ),
        "choose": st.randoms(use_true_random=False),
    }
)


def build(lab: dict[str, Any]) -> None:
    """Rows that obey the rules, and are saved without them: it is quicker."""
    choose = lab["choose"]
    types = save(
        DeviceType,
        [
            {"name": name, "slug": f"t{n}", "description": text, "color": "#abc"}
            for n, (name, text) in enumerate(lab["texts"])
        ],
    )
    brands = save(
        Brand, [{"name": name, "slug": f"b{n}", "description": text} for n, (name, text) in enumerate(lab["texts"])]
    )
    made = save(
        DeviceModel, [{**each, "brand": brands[0], "device_type": choose.choice(types)} for each in lab["models"]]
    )
    racks = save(Rack, lab["racks"])
    devices = save(Device, [{**each, "model": choose.choice(made)} for each in lab["devices"]])
    for number, device in enumerate(devices):
        if choose.random() < 0.7:
            save(
                RackPosition,
                [
                    {
                        "device": device,
                        "rack": choose.choice(racks),
                        "start_u": 1 + 3 * number,
                        "locked": choose.choice([None, True, False]),
                    }
                ],
            )
    if devices:
        cables = [
            {**each, "from_device": choose.choice(devices), "to_device": choose.choice(devices)}
            for each in lab["cables"]
        ]
        for number, each in enumerate(cables):
            each.update({name: each[name] and f"{each[name]}{name}{number}" for name in ("from_port", "to_port")})
            each["to_port"] = each["to_port"] or f"-{number}"
        save(Cable, cables)
    save(User, [{"email": email, "full_name": name, "is_active": active} for email, name, active in lab["users"]])


def save(model: type[models.Model], rows: list[dict[str, Any]]) -> list[Any]:
    return models.QuerySet(model).bulk_create([model(**row) for row in rows])


def delete_all() -> None:
    for model in (Cable, RackPosition, Device, Rack, DeviceModel, Brand, DeviceType, User):
        models.QuerySet(model).all().delete()


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],  # it shrinks for minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(LAB)
def test_an_import_into_an_empty_database_exports_the_same(lab: dict[str, Any]) -> None:
    with transaction.atomic():
        build(lab)
        texts, workbook = export_csv(), export_xlsx()
        assert not carry_out(*as_files(texts)).describe()
        delete_all()
        carry_out(*as_files(texts))
        assert export_csv() == texts
        delete_all()
        carry_out(SpreadsheetFile(name="lab.xlsx", content=io.BytesIO(workbook)))
        assert export_csv() == texts
        transaction.set_rollback(True)
    assert not connection.needs_rollback


def test_every_editable_field_has_a_column() -> None:
    kept_out = {"created_at", "updated_at", "last_updated", "legacy_fields", "id"}
    for table in TABLES.values():
        if table.model is User:
            continue
        paths = {column.path.partition("__")[0] for column in table.columns} | {
            reference.attribute.removesuffix("_id") for reference in table.references
        }
        names = {field.name for field in table.model._meta.concrete_fields}
        assert names - kept_out <= paths | ({"brand", "device_type"} if table.model is DeviceModel else set()), (
            table.name
        )
    place = {column.name for column in TABLES["devices"].columns}
    assert {"rack", "start_u", "locked"} <= place


def test_null_characters_are_refused_by_name() -> None:
    make_device("nas")
    assert refusals(csv_file("devices.csv", "name,notes", "nas,a\0b")) == [
        "devices.csv, line 2, notes: Null characters are not allowed."
    ]
    column = next(column for column in TABLES["models"].columns if isinstance(column, PortsColumn))
    with pytest.raises(Exception, match="Null characters"):
        column.parse('{"\\u0000": 1}')
