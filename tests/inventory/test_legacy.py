"""The description of legacy files against their schema and our models."""

import contextlib
import sqlite3
from collections.abc import Iterator

import pytest
from django.apps import apps
from django.contrib.auth.hashers import check_password
from django.db import models

from homerack.inventory.legacy import FORMAT
from homerack.inventory.legacy_catalogue import value_of
from homerack.inventory.models.choices import CableType, Width
from ops.engine_migration.legacy import LegacyColumn, LegacyTable

SCHEMA = """
CREATE TABLE racks (id, name, location, total_height_u, width_inches, depth_mm, max_weight_kg, max_power_watts,
    cooling_type, cooling_capacity_btu, ambient_temp_c, max_inlet_temp_c, airflow_cfm);
CREATE TABLE device_types (id, name, slug, icon, description, color, created_at, updated_at);
CREATE TABLE brands (id, name, slug, website, support_url, logo_url, description, founded_year, headquarters,
    last_fetched_at, fetch_confidence, fetch_source, created_at, updated_at);
CREATE TABLE dcim_connections (id, name, type, base_url, api_token, is_public, last_sync, sync_status, created_at,
    updated_at);
CREATE TABLE users (id, email, hashed_password, full_name, role, is_active, created_at, updated_at, last_login);
CREATE TABLE models (id, brand_id, device_type_id, name, variant, description, release_date, end_of_life, height_u,
    width_type, depth_mm, weight_kg, power_watts, heat_output_btu, airflow_pattern, max_operating_temp_c,
    typical_ports, mounting_type, datasheet_url, image_url, source, confidence, fetched_at, last_updated);
CREATE TABLE token_blacklist (id, token_jti, user_id, expires_at, created_at);
CREATE TABLE device_specifications (id, brand, model, variant, height_u, width_type, depth_mm, weight_kg, power_watts,
    heat_output_btu, airflow_pattern, max_operating_temp_c, typical_ports, mounting_type, source, source_url,
    confidence, fetched_at, last_updated, migrated_to_model_id, migration_status, deprecated);
CREATE TABLE devices (id, custom_name, specification_id, model_id, brand, model, access_frequency, notes,
    serial_number);
CREATE TABLE rack_positions (id, device_id, rack_id, start_u, locked);
CREATE TABLE connections (id, from_device_id, to_device_id, from_port, to_port, cable_type, cable_category_required,
    calculated_length_m, routing_path);
"""
REQUIRED = {
    "device_types": {"name", "slug"},
    "brands": {"name", "slug"},
    "models": {"brand_id", "device_type_id", "name", "height_u"},
    "devices": {"custom_name", "model_id"},
    "racks": {"name"},
    "rack_positions": {"device_id", "rack_id", "start_u"},
    "connections": {"from_device_id", "to_device_id"},
}
INVENTORY = [table for table in FORMAT.tables if table.target in REQUIRED]
AS_THEY_WERE = [table for table in INVENTORY if table.source == table.target]


@pytest.fixture(scope="module")
def legacy() -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(SCHEMA)
        yield connection


def columns_of(table: str, legacy: sqlite3.Connection) -> set[str]:
    return {row[1] for row in legacy.execute(f"PRAGMA table_info({table})")}


def model_of(table: str) -> type[models.Model]:
    return next(model for model in apps.get_models(include_auto_created=True) if model._meta.db_table == table)


def evaluate(column: LegacyColumn, value: object) -> object:
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE legacy (value)")
        connection.execute("INSERT INTO legacy VALUES (?)", (value,))
        expression = column.expression.replace("{}", '"value"')
        return connection.execute(f"SELECT {expression} FROM legacy").fetchone()[0]


def test_every_legacy_table_is_migrated_or_listed(legacy: sqlite3.Connection) -> None:
    tables = {row[0] for row in legacy.execute("SELECT name FROM sqlite_master")}
    migrated = {name for table in FORMAT.tables for name in table.made_of or (table.source,)}
    assert tables == migrated | set(FORMAT.not_migrated)
    assert FORMAT.signature == tables - {"users", "token_blacklist"}


@pytest.mark.parametrize("table", AS_THEY_WERE, ids=lambda table: table.source)
def test_columns_have_the_names_of_legacy_files(table: LegacyTable, legacy: sqlite3.Connection) -> None:
    ours = {field.column for field in model_of(table.target)._meta.concrete_fields}
    assert ours - {"legacy_fields"} <= columns_of(table.source, legacy)
    assert set(table.columns) <= ours


@pytest.mark.parametrize("table", INVENTORY, ids=lambda table: table.target)
def test_nullable_legacy_columns_are_nullable(table: LegacyTable) -> None:
    fields = model_of(table.target)._meta.concrete_fields
    assert {field.column for field in fields if not field.null} == REQUIRED[table.target] | {"id"}


@pytest.mark.parametrize("table", INVENTORY, ids=lambda table: table.source)
def test_every_value_fits_its_column_and_is_a_choice(table: LegacyTable) -> None:
    for name, column in table.columns.items():
        field = next(field for field in model_of(table.target)._meta.concrete_fields if field.column == name)
        for value in (column.values or {}).values():
            assert value in dict(field.flatchoices)
            assert field.max_length is None or len(str(value)) <= field.max_length


def test_enum_names_and_values_are_known() -> None:
    values = {(table.source, name): column.values for table in INVENTORY for name, column in table.columns.items()}
    assert values["racks", "width_inches"] == {
        word: member.value for member in Width for word in (member.name, member.value)
    }
    assert {member.name for member in CableType} <= set(values["connections", "cable_type"] or ())
    assert "NINETEEN" not in (values["racks", "width_inches"] or {})


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("NINETEEN_INCH", '19"'),
        ('23"', '23"'),
        ("half rack", "half rack"),
        ("NINETEEN_INCH or so", "NINETEEN_INCH or so"),
        (None, None),
    ],
)
def test_free_text_of_the_catalogue_is_kept(value: str | None, kept: str | None) -> None:
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE models (width_type)")
        connection.execute("INSERT INTO models VALUES (?)", (value,))
        assert connection.execute(f"SELECT {value_of('models', 'width_type')} FROM models").fetchone()[0] == kept


def test_users_keep_their_passwords_names_and_roles() -> None:
    people, groups = (table for table in FORMAT.tables if table.source == "users")
    assert (people.target, groups.target) == ("accounts_user", "accounts_user_groups")
    hashed = evaluate(people.columns["password"], "$2b$08$DNZ8LXfywi0v3OI2n0XQwuBOhb1dU5MpLGDiOpj4XrGB.h2UpcL5.")
    assert check_password("correct horse battery", str(hashed))
    assert evaluate(people.columns["full_name"], None) == ""
    assert evaluate(people.columns["is_staff"], None) == 1
    roles = {"admin": 1, "ADMIN": 1, "user": 0, "USER": 0, "readonly": 0, "READONLY": 0}
    assert people.columns["is_superuser"].values == roles
    members = {"user": "Editors", "USER": "Editors", "readonly": "Viewers", "READONLY": "Viewers"}
    assert groups.columns["group_id"].values == members
    assert groups.columns["group_id"].lookup == ("auth_group", "name")
    assert groups.where == "role NOT IN ('ADMIN', 'admin')"


def test_all_user_columns_have_a_source(legacy: sqlite3.Connection) -> None:
    known = columns_of("users", legacy)
    for table in FORMAT.tables:
        if table.source == "users":
            ours = {field.column for field in model_of(table.target)._meta.concrete_fields}
            assert ours <= set(table.columns) | known
