"""The format of files of HomeRack 1.0.1 (SQLAlchemy), for `manage.py migrate_to_postgres`.

Tables and columns are the same. The differences: SQLAlchemy stores the names of enum members where we store their
values (files that were edited by hand contain values as well), and its users become users of Django.
"""

from collections.abc import Mapping
from dataclasses import replace

from django.db import models

from homerack.inventory.models.choices import (
    AccessFrequency,
    Airflow,
    CableType,
    Confidence,
    DcimType,
    MigrationStatus,
    RoutingPath,
    Source,
    Width,
)
from ops.engine_migration.legacy import LegacyColumn, LegacyFormat, LegacyTable

FILE = LegacyColumn(files="/uploads/")
"""A column with the address of a picture, of another site or of an uploaded file."""
NOT_ADMINISTRATOR = "role NOT IN ('ADMIN', 'admin')"
EDITORS, VIEWERS = "Editors", "Viewers"
"""The groups that a migration of `homerack.inventory` creates."""


def enum_column(choices: type[models.TextChoices]) -> LegacyColumn:
    """A column of an enum: the names and values of its members are known, other values are refused."""
    return LegacyColumn(values=_names_and_values(choices))


def text_column(choices: type[models.TextChoices]) -> LegacyColumn:
    """A column of free text that usually has a value: names of members become values, other texts are unchanged."""
    cases = " ".join(f"WHEN '{member.name}' THEN '{member.value}'" for member in choices)
    expression = f"(SELECT CASE word {cases} ELSE word END FROM (SELECT {{}} AS word))"  # noqa: S608  # our own words
    return LegacyColumn(expression=expression)


def _names_and_values(choices: type[models.TextChoices]) -> dict[str, str | int]:
    return {word: member.value for member in choices for word in (member.name, member.value)}


def _roles(**meaning: str | int) -> dict[str, str | int]:
    return {word: value for role, value in meaning.items() for word in (role, role.upper())}


def _table(name: str, columns: Mapping[str, LegacyColumn] | None = None) -> LegacyTable:
    """A legacy table for our table of the same name; `columns` are those whose values are mapped."""
    return LegacyTable(
        source=name,
        target=name,
        columns={column: replace(legacy, source=column) for column, legacy in (columns or {}).items()},
    )


USERS = LegacyTable(
    source="users",
    target="accounts_user",
    columns={
        # The prefix of Django's BCryptPasswordHasher.
        "password": LegacyColumn(source="hashed_password", expression="'bcrypt$' || {}"),
        "full_name": LegacyColumn(source="full_name", expression="coalesce({}, '')"),
        "is_superuser": LegacyColumn(source="role", values=_roles(admin=1, user=0, readonly=0)),
        "is_staff": LegacyColumn(expression="1"),
    },
)
ROLES = LegacyTable(
    source="users",
    target="accounts_user_groups",
    columns={
        "id": LegacyColumn(source="id"),
        "user_id": LegacyColumn(source="id"),
        "group_id": LegacyColumn(
            source="role", values=_roles(user=EDITORS, readonly=VIEWERS), lookup=("auth_group", "name")
        ),
    },
    where=NOT_ADMINISTRATOR,
)

INVENTORY = (
    _table("device_types"),
    _table("brands", {"logo_url": FILE, "fetch_confidence": enum_column(Confidence)}),
    _table(
        "models",
        {
            "width_type": text_column(Width),
            "airflow_pattern": text_column(Airflow),
            "confidence": text_column(Confidence),
            "image_url": FILE,
        },
    ),
    _table(
        "device_specifications",
        {
            "width_type": enum_column(Width),
            "airflow_pattern": enum_column(Airflow),
            "source": enum_column(Source),
            "confidence": enum_column(Confidence),
            "migration_status": enum_column(MigrationStatus),
        },
    ),
    _table("devices", {"access_frequency": enum_column(AccessFrequency)}),
    _table("racks", {"width_inches": enum_column(Width)}),
    _table("rack_positions"),
    _table("connections", {"cable_type": enum_column(CableType), "routing_path": enum_column(RoutingPath)}),
    _table("dcim_connections", {"type": enum_column(DcimType)}),
)

FORMAT = LegacyFormat(
    name="HomeRack 1.0.1",
    signature=frozenset(table.source for table in INVENTORY),
    tables=(*INVENTORY, USERS, ROLES),
    not_migrated={
        "token_blacklist": "It lists revoked sign-in tokens. "
        "HomeRack uses sessions, so these tokens are not valid here.",
    },
)
