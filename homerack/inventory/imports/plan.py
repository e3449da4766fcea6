"""An import in two steps: a plan that shows what will change, and one transaction that does it.

A kind of import plans its rows in the order in which they are saved: first what others refer to. The rows' own rules
decide what is refused, so that a file obeys those of a form. Device types are `PlannedRow`s, which are saved one by
one; spreadsheets have rows of their own (`homerack.inventory.spreadsheets`), which are checked and written in sets.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from django.core.exceptions import NON_FIELD_ERRORS, FieldDoesNotExist, ValidationError
from django.db import IntegrityError, models, transaction

from homerack.inventory.imports.refusals import Refused, printable
from homerack.inventory.models.base import ValidatedModel

MAX_SHOWN = 80
"""Characters of a value that is shown."""


class ImportRefused(Exception):
    """Nothing was imported. `refused` says why."""

    def __init__(self, refused: Iterable[Refused]) -> None:
        self.refused = tuple(refused)
        super().__init__("\n".join(str(each) for each in self.refused))


class PlanChanged(Exception):
    """Nothing was imported: the plan differs from the one that the user has seen. `plan` is the new one."""

    def __init__(self, plan: "Plan[Any]") -> None:
        super().__init__("The inventory has changed since the plan was shown.")
        self.plan = plan


@dataclass(frozen=True, kw_only=True)
class Change:
    """A value of a row that the file has otherwise, as texts for users."""

    field: str
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.field} {self.old} → {self.new}"


class Row(Protocol):
    """A row of a plan. `changed`, by the names of fields, is empty for a new row, and for one that stays as it is."""

    @property
    def model(self) -> type[models.Model]: ...
    @property
    def label(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def line(self) -> int: ...
    @property
    def is_new(self) -> bool: ...
    @property
    def changed(self) -> Mapping[str, Change]: ...


RowT = TypeVar("RowT", bound=Row)


@dataclass(frozen=True, kw_only=True)
class PlannedRow:
    """`instance` has the new values, and is not saved yet. `source` and `line` are where they come from."""

    instance: ValidatedModel
    label: str
    source: str
    line: int
    is_new: bool
    changed: Mapping[str, Change]

    @property
    def model(self) -> type[models.Model]:
        return type(self.instance)


@dataclass(frozen=True, kw_only=True)
class Plan(Generic[RowT]):
    """What an import does, in the order in which it does it.

    `sources` says how each file was read. `change_set` is the key of what was written in the history.
    """

    rows: Sequence[RowT]
    refused: tuple[Refused, ...]
    sources: tuple[str, ...] = ()
    change_set: int | None = None

    def new(self, model: type[models.Model]) -> list[RowT]:
        return [row for row in self.rows if row.is_new and row.model is model]

    @property
    def changed(self) -> list[RowT]:
        return [row for row in self.rows if row.changed]

    @property
    def unchanged(self) -> list[RowT]:
        return [row for row in self.rows if not row.is_new and not row.changed]

    @property
    def digest(self) -> str:
        """Equal for plans that do the same."""
        digest = hashlib.sha256()
        for row in self.rows:
            digest.update(f"{row.is_new} {row.label!r} {[str(change) for change in row.changed.values()]}\n".encode())
        return digest.hexdigest()

    def describe(self, *, changed: bool = True) -> str:
        """``2 new racks, 9 new devices and 1 changed device``: what is added or changed. Empty if nothing is."""
        counted = Counter((row.model, row.is_new) for row in self.rows if row.is_new or (changed and row.changed))
        parts = [
            f"{number} {'new' if is_new else 'changed'} {count_name(model, number)}"
            for (model, is_new), number in sorted(counted.items(), key=lambda each: not each[0][1])
        ]
        return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))


def count_name(model: type[models.Model], number: int) -> str:
    return str(model._meta.verbose_name if number == 1 else model._meta.verbose_name_plural)


def fill(instance: ValidatedModel, values: Mapping[str, Any]) -> dict[str, Change]:
    """Set `values`, and return those that a stored row has otherwise. A value of None is unknown and not set."""
    changes = {}
    for name, value in values.items():
        old = getattr(instance, name)
        if value is None or same(old, value):
            continue
        setattr(instance, name, value)
        if not instance._state.adding:
            field = instance._meta.get_field(name)
            changes[name] = Change(
                field=str(getattr(field, "verbose_name", name)), old=shown(field, old), new=shown(field, value)
            )
    return changes


def same(old: Any, new: Any) -> bool:
    """Forms store texts with the line ends of browsers."""
    if isinstance(old, str) and isinstance(new, str):
        return old.replace("\r\n", "\n").strip() == new
    return bool(old == new)


def shown(field: Any, value: Any) -> str:
    """A value as users know it: the label of a choice, ``24 × 1000base-t``."""
    if value in (None, "", {}):
        return "–"
    if isinstance(value, dict):
        return printable(", ".join(f"{number} × {name}" for name, number in value.items()), MAX_SHOWN)
    if isinstance(value, float):
        return f"{value:.6g}"
    return printable(str(dict(field.flatchoices).get(value, value)), MAX_SHOWN)


def faults_of(row: PlannedRow) -> list[Refused]:
    """The rules that `row` breaks. Rows that it refers to may be new themselves."""
    instance = row.instance
    new = {field.name for field in instance._meta.concrete_fields if is_new_reference(instance, field)}
    try:
        instance.full_clean(exclude=new)
    except ValidationError as error:
        return [
            Refused(source=row.source, line=row.line, field=label_of(instance, name), reason=message)
            for name, messages in error.message_dict.items()
            for message in messages
        ]
    return []


def is_new_reference(instance: ValidatedModel, field: "models.Field[Any, Any]") -> bool:
    return field.is_relation and field.is_cached(instance) and getattr(instance, field.name)._state.adding  # type: ignore[attr-defined]


def label_of(instance: models.Model, name: str) -> str:
    try:
        return "" if name == NON_FIELD_ERRORS else str(getattr(instance._meta.get_field(name), "verbose_name", name))
    except FieldDoesNotExist:
        return name


def carry_out(plan: Plan[PlannedRow], *, overwrite: bool) -> None:
    """Save the new rows, and with `overwrite` the changed ones: all, or none.

    Raises ImportRefused if a rule is broken meanwhile, by a row that another user has saved since the plan was made.
    """
    with transaction.atomic():
        for row in plan.rows:
            if row.is_new or (overwrite and row.changed):
                save(row)


def save(row: PlannedRow) -> None:
    for field in row.instance._meta.concrete_fields:
        if field.is_relation and field.is_cached(row.instance):  # type: ignore[attr-defined]
            setattr(row.instance, field.name, getattr(row.instance, field.name))  # with the key that it has got
    try:
        with transaction.atomic():
            row.instance.save(**({} if row.is_new else {"update_fields": written_fields(row)}))
    except ValidationError:
        raise ImportRefused(faults_of(row)) from None
    except IntegrityError as error:
        reason = "Another user has changed the same rows. Start the import again."
        raise ImportRefused([Refused(source=row.source, line=row.line, reason=reason)]) from error


def written_fields(row: PlannedRow) -> list[str]:
    """Those that change, and the times of changes."""
    automatic = [field.name for field in row.instance._meta.concrete_fields if getattr(field, "auto_now", False)]
    return [*row.changed, *automatic]
