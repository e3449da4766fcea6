"""The format of files of HomeRack 1.0.1 (SQLAlchemy), for `manage.py migrate_to_postgres`.

Tables and columns are the same, but for the catalogue (`legacy_catalogue`). SQLAlchemy stores the names of enum members
where we store their values (files that were edited by hand contain values as well), and its users become users of
Django. What we have no field for is kept in `legacy_fields`.
"""

from collections.abc import Mapping
from dataclasses import replace

from django.db import models

from homerack.inventory.legacy_catalogue import (
    BRAND_ORIGIN,
    DEVICE_FIELDS,
    DEVICE_MODEL,
    MODEL_ORIGIN,
    STATEMENTS,
    TYPE_ORIGIN,
    document,
    kept,
)
from homerack.inventory.models.choices import AccessFrequency, CableType, RoutingPath, Width
from ops.engine_migration.legacy import LegacyColumn, LegacyFormat, LegacyTable

FILES = "/uploads/"
"""How the address of an uploaded picture begins; others are on other sites."""
NOT_ADMINISTRATOR = "role NOT IN ('ADMIN', 'admin')"
EDITORS, VIEWERS = "Editors", "Viewers"
"""The groups that a migration of `homerack.inventory` creates."""


def enum_column(choices: type[models.TextChoices]) -> LegacyColumn:
    """A column of an enum: the names and values of its members are known, other values are refused."""
    return LegacyColumn(values=_names_and_values(choices))


def computed(source: str, expression: str) -> LegacyColumn:
    """A column with the value of an SQL expression; `source` is the legacy column that messages name."""
    return LegacyColumn(source=source, expression=expression.replace("{", "{{").replace("}", "}}"))


def legacy_fields(*columns: str) -> LegacyColumn:
    """The values of legacy columns that have no field."""
    return computed(columns[0], document({column: kept(column) for column in columns}))


def _names_and_values(choices: type[models.TextChoices]) -> dict[str, str | int]:
    return {word: member.value for member in choices for word in (member.name, member.value)}


def _roles(**meaning: str | int) -> dict[str, str | int]:
    return {word: value for role, value in meaning.items() for word in (role, role.upper())}


def _table(name: str, columns: Mapping[str, LegacyColumn]) -> LegacyTable:
    """A legacy table for our table of the same name; `columns` are those whose values are mapped."""
    named = {column: legacy if legacy.source else replace(legacy, source=column) for column, legacy in columns.items()}
    return LegacyTable(source=name, target=name, columns=named)


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

CATALOGUE = (
    LegacyTable(source="catalogue_types", target="device_types", made_of=("device_types",), origin=TYPE_ORIGIN),
    LegacyTable(
        source="catalogue_brands",
        target="brands",
        made_of=("brands", "device_specifications"),
        origin=BRAND_ORIGIN,
        files={"logo_url": FILES},
    ),
    LegacyTable(
        source="catalogue_models",
        target="models",
        made_of=("models", "device_specifications"),
        origin=MODEL_ORIGIN,
        files={"image_url": FILES},
    ),
)
LAB = (
    _table(
        "devices",
        {
            "model_id": computed("model_id", DEVICE_MODEL),
            "access_frequency": enum_column(AccessFrequency),
            "legacy_fields": computed("specification_id", DEVICE_FIELDS),
        },
    ),
    _table(
        "racks", {"width_inches": enum_column(Width), "legacy_fields": legacy_fields("cooling_type", "airflow_cfm")}
    ),
    LegacyTable(source="rack_positions", target="rack_positions"),
    _table(
        "connections",
        {
            "cable_type": enum_column(CableType),
            "routing_path": enum_column(RoutingPath),
            "legacy_fields": legacy_fields("cable_category_required"),
        },
    ),
)

FORMAT = LegacyFormat(
    name="HomeRack 1.0.1",
    signature=frozenset(
        {
            "brands",
            "connections",
            "dcim_connections",
            "device_specifications",
            "device_types",
            "devices",
            "models",
            "rack_positions",
            "racks",
        }
    ),
    tables=(*CATALOGUE, *LAB, USERS, ROLES),
    prepare=STATEMENTS,
    not_migrated={
        "dcim_connections": "HomeRack reads no catalogues of other programs. Their addresses and API tokens stay in"
        " the file.",
        "token_blacklist": "It lists revoked sign-in tokens. "
        "HomeRack uses sessions, so these tokens are not valid here.",
    },
)
