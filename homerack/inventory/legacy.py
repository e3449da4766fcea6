"""What files of the older HomeRack (SQLAlchemy) look like, for `manage.py migrate_to_postgres`.

Its tables and columns are ours already. What differs: SQLAlchemy stores the names of enum members where we store their
values (files edited by hand hold values too), and its users become Django's.
"""

from collections.abc import Mapping

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

NOT_ADMINISTRATOR = "role NOT IN ('ADMIN', 'admin')"
EDITORS, VIEWERS = "Editors", "Viewers"
"""The groups that a migration of `homerack.inventory` makes."""


def enum_column(choices: type[models.TextChoices]) -> LegacyColumn:
    """A column that held an enum: names and values of its members are known, everything else is refused."""
    return LegacyColumn(values=_names_and_values(choices))


def text_column(choices: type[models.TextChoices]) -> LegacyColumn:
    """A column of free text that usually holds a value: names of members become values, other words stay."""
    cases = " ".join(f"WHEN '{member.name}' THEN '{member.value}'" for member in choices)
    expression = f"(SELECT CASE word {cases} ELSE word END FROM (SELECT {{}} AS word))"  # noqa: S608  # our own words
    return LegacyColumn(expression=expression)


def _names_and_values(choices: type[models.TextChoices]) -> dict[str, str | int]:
    return {word: member.value for member in choices for word in (member.name, member.value)}


def _roles(**meaning: str | int) -> dict[str, str | int]:
    return {word: value for role, value in meaning.items() for word in (role, role.upper())}


def _table(name: str, columns: Mapping[str, LegacyColumn] | None = None) -> LegacyTable:
    """A legacy table that is read into ours of the same name; `columns` are those whose values change."""
    return LegacyTable(
        source=name,
        target=name,
        columns={column: _from(column, what) for column, what in (columns or {}).items()},
    )


def _from(column: str, what: LegacyColumn) -> LegacyColumn:
    return LegacyColumn(source=column, expression=what.expression, values=what.values)


USERS = LegacyTable(
    source="users",
    target="accounts_user",
    columns={
        # `bcrypt$` is how Django's BCryptPasswordHasher knows its own.
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
    _table("brands", {"fetch_confidence": enum_column(Confidence)}),
    _table(
        "models",
        {
            "width_type": text_column(Width),
            "airflow_pattern": text_column(Airflow),
            "confidence": text_column(Confidence),
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
    name="legacy HomeRack",
    signature=frozenset(table.source for table in INVENTORY),
    tables=(*INVENTORY, USERS, ROLES),
    not_carried={
        "token_blacklist": "It lists revoked sign-in tokens. "
        "HomeRack uses sessions, so these tokens are not valid here.",
    },
)
