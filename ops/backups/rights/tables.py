"""The tables of accounts and rights, found from the models of the project.

Any user model works: columns and tables are found by its fields. A group is a model to which the user model has a
many-to-many field, and which has one to permissions.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist
from django.db import models

from ops.conf import conf

FALSE = frozenset({None, "", "f", "false", "0", "0.0"})
"""False as PostgreSQL and SQLite write it, also in dumps. Django reads any other value of a SQLite file as true."""
STAFF = "access to the admin site"
Field = Any
"""A field of a model: the stubs have many types for it."""


@dataclass(frozen=True, kw_only=True)
class Relation:
    """Some columns of one table."""

    table: str
    columns: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Part:
    """Fields of the user model that are in one table; the first column of `relation` is the account's key."""

    relation: Relation
    fields: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A field of the user model whose value gives rights. `switch`: it does so where it is true."""

    field: str
    right: str
    switch: bool

    def right_of(self, value: str | None) -> str:
        """The right that the value gives, or ''."""
        if self.switch:
            return self.right if value not in FALSE else ""
        return f"{self.right} {value}" if value else ""


@dataclass(frozen=True, kw_only=True)
class Group:
    """One kind of group: its name, members (account, group), names (group, name) and grants (group, permission)."""

    word: str
    members: Relation
    names: Relation
    grants: Relation


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The tables and columns of accounts and rights. `name` is the field that users sign in with.

    The table of the user model is the first of `parts`; others are those of its parent models.
    """

    name: str
    parts: tuple[Part, ...]
    marks: tuple[Mark, ...]
    groups: tuple[Group, ...]
    own: tuple[Relation, ...]
    """Pairs of account and permission."""
    labels: tuple[Relation, ...]
    """Of permissions (key, content type, codename) and of content types (key, app, model); or nothing."""

    @property
    def relations(self) -> tuple[Relation, ...]:
        """All relations that have to be read."""
        groups = [one for group in self.groups for one in (group.members, group.names, group.grants)]
        return *(part.relation for part in self.parts), *groups, *self.own, *self.labels

    @property
    def columns(self) -> dict[str, tuple[str, ...]]:
        """Their columns by table."""
        return merged(*self.relations)


def merged(*relations: Relation) -> dict[str, tuple[str, ...]]:
    """The columns of all relations, each once."""
    columns: dict[str, tuple[str, ...]] = {}
    for one in relations:
        columns[one.table] = tuple(dict.fromkeys((*columns.get(one.table, ()), *one.columns)))
    return columns


def layout_of(user: type[models.Model]) -> Layout:
    """The layout of accounts whose model is `user`."""
    name = user.USERNAME_FIELD  # type: ignore[attr-defined]
    marks = marks_of(user)
    groups = tuple(groups_of(user))
    own = tuple(relation for relation, other in many(user) if other is permission_model())
    return Layout(
        name=name,
        parts=parts_of(user, [name, "password", "is_active", "is_superuser", *(mark.field for mark in marks)]),
        marks=marks,
        groups=groups,
        own=own,
        labels=labels_of_permissions() if groups or own else (),
    )


def concrete(model: type[models.Model], name: str) -> Field | None:
    """The field, where the model has it as a column."""
    try:
        field: Field = model._meta.get_field(name)
    except FieldDoesNotExist:
        return None
    return field if getattr(field, "column", None) else None


def parts_of(user: type[models.Model], names: Iterable[str]) -> tuple[Part, ...]:
    """The tables with these fields. A parent's row has the key of its child."""
    fields: dict[type[models.Model], list[Field]] = {concrete_model(user): []}
    for field in filter(None, (concrete(user, name) for name in names)):
        fields.setdefault(concrete_model(field.model), []).append(field)
    return tuple(
        Part(
            relation=Relation(table=model._meta.db_table, columns=(key_of(model), *(one.column for one in found))),
            fields=tuple(one.name for one in found),
        )
        for model, found in fields.items()
    )


def concrete_model(model: type[models.Model]) -> type[models.Model]:
    """The model itself, or the model of a proxy."""
    return model._meta.concrete_model or model


def key_of(model: type[models.Model]) -> str:
    return str(model._meta.pk.column)


def marks_of(user: type[models.Model]) -> tuple[Mark, ...]:
    """Access to the admin site, and what the setting OPS_RIGHTS_FIELDS adds.

    A user model without `is_superuser` has its own kind of rights: then every boolean field counts.
    """
    switches = [one.name for one in user._meta.concrete_fields if isinstance(one, models.BooleanField)]
    known = {"is_staff"} if "is_superuser" in switches else set(switches) - {"is_active"}
    fields = dict.fromkeys([*(name for name in switches if name in known), *conf.OPS_RIGHTS_FIELDS])
    return tuple(
        Mark(field=name, right=STAFF if name == "is_staff" else str(field.verbose_name), switch=name in switches)
        for name in fields
        if (field := concrete(user, name))
    )


def permission_model() -> type[models.Model]:
    return apps.get_model("auth", "Permission")


def many(model: type[models.Model]) -> Iterator[tuple[Relation, type[models.Model]]]:
    """The pairs of keys of each many-to-many field, and the model at its other end."""
    for field in model._meta.many_to_many:
        columns = (field.m2m_column_name(), field.m2m_reverse_name())
        other: Any = field.related_model
        yield Relation(table=field.m2m_db_table(), columns=columns), concrete_model(other)


def groups_of(user: type[models.Model]) -> Iterator[Group]:
    for members, group in many(user):
        for grants, other in many(group):
            if other is permission_model():
                yield Group(word=str(group._meta.verbose_name), members=members, names=names_of(group), grants=grants)


def names_of(group: type[models.Model]) -> Relation:
    """The key and the name of groups; the key twice where they have no name."""
    field = concrete(group, "name")
    model = concrete_model(field.model) if field else group
    return Relation(table=model._meta.db_table, columns=(key_of(model), field.column if field else key_of(model)))


def labels_of_permissions() -> tuple[Relation, ...]:
    permission, kind = permission_model(), apps.get_model("contenttypes", "ContentType")
    return tuple(
        Relation(
            table=model._meta.db_table,
            columns=(key_of(model), *(str(model._meta.get_field(name).column) for name in names)),  # type: ignore[union-attr]
        )
        for model, names in ((permission, ("content_type", "codename")), (kind, ("app_label", "model")))
    )
