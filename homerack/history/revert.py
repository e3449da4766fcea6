"""Undoes a change set, or one change, through the rules: all, or nothing.

What others have changed since is never lost: a value that differs from what the change left, and a row that newer rows
refer to, are conflicts. All are named.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db import IntegrityError, connections, models, router, transaction

from homerack.history.change_sets import change_set as open_change_set
from homerack.history.entry_points import EntryPoint
from homerack.history.models import ChangeSet
from homerack.history.tracking import (
    CHANGED,
    DELETED,
    Change,
    State,
    batches,
    historical_models,
    record,
    stored_states,
    tracked_models,
    tracked_names,
)


class RevertRefused(Exception):
    """Nothing was changed. `reasons` has a sentence for each conflict and each rule."""

    def __init__(self, reasons: Iterable[str]) -> None:
        self.reasons = tuple(reasons)
        super().__init__("\n".join(self.reasons))


@dataclass(frozen=True, kw_only=True)
class Undo:
    """What is to be undone of one row. `before` is None for a row that was created, `after` for a deleted one."""

    model: Any
    key: Any
    before: State | None
    after: State | None
    last: Any
    """The last historical row that is undone."""

    @property
    def fields(self) -> list[str]:
        """The names of the values that change back."""
        if self.before is None or self.after is None:
            return []
        return [name for name, value in self.before.items() if self.after[name] != value]

    @property
    def label(self) -> str:
        """``device web-1``; with its number where its name comes from rows that may not be there."""
        name = next((self.last.state[each] for each in ("custom_name", "name", "email") if each in self.last.state), "")
        return f"{self.model._meta.verbose_name} {name or f'number {self.key}'}"


def revert(change_set: ChangeSet, *, user: Any = None, description: str = "") -> None:
    """Undo all that `change_set` has changed. Raises RevertRefused.

    Whether `user` may change these rows is asked by the caller: `undos_of` names their models.
    """
    carry_out(undos_of(change_set), reverts=change_set, user=user, description=description)


def revert_change(row: Any, *, user: Any = None, description: str = "") -> None:
    """Undo what one historical row has recorded. Raises RevertRefused."""
    carry_out([undo_of([row])], reverts=row.change_set, user=user, description=description)


def undos_of(change_set: ChangeSet) -> list[Undo]:
    """What `revert` does, in the order of the models."""
    using = change_set._state.db
    undos = []
    for historical in historical_models():
        by_key: dict[Any, list[Any]] = {}
        rows = historical._default_manager.using(using).filter(change_set=change_set).order_by("history_id")
        for row in rows.iterator():
            by_key.setdefault(row.pk_of_row, []).append(row)
        for batch in batches(by_key.values()):
            previous = previous_rows(historical, batch, using)
            undos += [undo_of(rows, previous.get(rows[0].pk_of_row)) for rows in batch]
    return [undo for undo in undos if undo.before != undo.after]


def previous_rows(historical: Any, changed: Iterable[Sequence[Any]], using: Any) -> dict[Any, Any]:
    """The historical row before the first of each group, by the key of the row."""
    first = {rows[0].pk_of_row: rows[0].history_id for rows in changed}
    key = historical.instance_type._meta.pk.attname
    found = historical._default_manager.using(using).filter(**{f"{key}__in": [*first]}).order_by("history_id")
    return {row.pk_of_row: row for row in found if row.history_id < first[row.pk_of_row]}


def undo_of(rows: Sequence[Any], previous: Any = None) -> Undo:
    first, last = rows[0], rows[-1]
    if previous is None:
        previous = previous_rows(type(first), [rows], first._state.db).get(first.pk_of_row)
    known = previous is not None and previous.history_type != DELETED
    if previous is None and first.history_type == CHANGED:
        raise RevertRefused([f"What a {first.instance_type._meta.verbose_name} was before is not recorded any more."])
    if not known and first.history_type == DELETED:
        previous, known = first, True  # the rows before it were pruned
    return Undo(
        model=first.instance_type,
        key=first.pk_of_row,
        before=previous.state if known else None,
        after=None if last.history_type == DELETED else last.state,
        last=last,
    )


def carry_out(undos: Sequence[Undo], *, reverts: ChangeSet | None, user: Any, description: str) -> None:
    using = router.db_for_write(ChangeSet)
    with (
        transaction.atomic(using=using),
        open_change_set(EntryPoint.REVERT, user, description or f"reverts: {reverts}", reverts=reverts),
    ):
        undos = [undo for undo in undos if undo.before != undo.after]
        lock_rows(undos)
        if conflicts := find_conflicts(undos, using=using):
            raise RevertRefused(conflicts)
        try:
            with transaction.atomic(using=using):
                write(undos, using=using)
                faults = find_faults(undos, using=using)
                if not faults:
                    connections[using].check_constraints()
        except IntegrityError as error:
            raise RevertRefused([f"The database refuses it: {first_line(error)}"]) from error
        if faults:
            raise RevertRefused(faults)


def first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def lock_rows(undos: Iterable[Undo]) -> None:
    """What the rules read, as `save()` locks it."""
    for undo in undos:
        state = undo.before or undo.after
        row = undo.model(**columns(undo.model, state or {}))
        if hasattr(row, "lock_rows"):
            row.lock_rows()


def columns(model: Any, state: State) -> State:
    return {name: value for name, value in state.items() if name not in model.extra_history_fields}


def find_conflicts(undos: Sequence[Undo], *, using: str) -> list[str]:
    """What was changed since, a sentence each."""
    reasons = []
    for model in tracked_models():
        for batch in batches(undo for undo in undos if undo.model is model):
            stored = stored_states(model, [undo.key for undo in batch], using=using)
            for undo in batch:
                reasons += conflicts_of(undo, stored.get(undo.key), using)
    return [*reasons, *find_users(undos, using=using)]


def conflicts_of(undo: Undo, stored: State | None, using: str) -> list[str]:
    if undo.after is None:
        return [] if stored is None else [f"The {undo.label} exists again{since(undo, using)}."]
    if stored is None:
        return [f"The {undo.label} was deleted{since(undo, using)}."]
    names = undo.fields if undo.before is not None else tracked_names(undo.model)
    return [
        f"{field_label(undo.model, name)} of the {undo.label} was changed{since(undo, using)}."
        for name in names
        if stored[name] != undo.after[name]
    ]


def since(undo: Undo, using: str) -> str:
    """`` since, by admin@example.com``: the last change set of the row."""
    history = type(undo.last)._default_manager.using(using).select_related("change_set")
    key = undo.model._meta.pk.attname
    later = history.filter(**{key: undo.key}, history_id__gt=undo.last.history_id).order_by("-history_id").first()
    if later is None or later.change_set is None:
        return " since"
    return f" since, by {later.change_set.user_name or later.change_set.get_entry_point_display().lower()}"


def field_label(model: Any, name: str) -> str:
    try:
        label = str(model._meta.get_field(name.removesuffix("_id")).verbose_name)
    except FieldDoesNotExist:
        label = str(model.extra_history_fields[name].verbose_name or name)
    return label[:1].upper() + label[1:]


def find_users(undos: Sequence[Undo], *, using: str) -> list[str]:
    """Rows that refer to those to be deleted, and that are not deleted or changed back with them."""
    own = {(undo.model, undo.key) for undo in undos if undo.after is not None}
    reasons = []
    for model in tracked_models():
        gone = [undo for undo in undos if undo.model is model and undo.before is None]
        for relation in model._meta.related_objects:
            other: Any = relation.related_model
            if other not in tracked_models() or not relation.field.concrete:
                continue
            for batch in batches(gone):
                labels = {undo.key: undo.label for undo in batch}
                users = other._default_manager.using(using).filter(**{f"{relation.field.name}__in": [*labels]})
                kind = other._meta.verbose_name
                reasons += [
                    f"The {labels[getattr(user, relation.field.attname)]} is used by the {kind} {user}."
                    for user in users
                    if (other, user.pk) not in own
                ]
    return reasons


def write(undos: Sequence[Undo], *, using: str) -> None:
    """Delete what was created, recreate what was deleted with its old keys, and change back the rest.

    The database checks references at the end of the transaction, so rows may refer to later ones meanwhile.
    """
    for model in reversed(tracked_models()):
        gone = [undo for undo in undos if undo.model is model and undo.before is None]
        for batch in batches(gone):
            rows: Any = models.QuerySet(model, using=using).filter(pk__in=[undo.key for undo in batch])
            for field in model._meta.many_to_many:
                through: Any = field.remote_field.through
                through._default_manager.using(using).filter(**{f"{field.m2m_field_name()}__in": rows}).delete()
            rows._raw_delete(using)  # noqa: SLF001  # no cascade: the users are known
            record(model, [Change(key=each.key, before=each.after, after=None) for each in batch], using=using)
    for model in tracked_models():
        kept = [undo for undo in undos if undo.model is model and undo.before is not None]
        for batch in batches(kept):
            write_back(model, batch, using=using)


def write_back(model: Any, undos: Sequence[Undo], *, using: str) -> None:
    rows: Any = models.QuerySet(model, using=using)
    stored = stored_states(model, [undo.key for undo in undos], using=using)
    back = [undo for undo in undos if undo.after is None]
    new = [model(**columns(model, undo.before or {})) for undo in back]
    for row in new:
        if hasattr(row, "set_unusable_password"):
            row.set_unusable_password()
    rows.bulk_create(new)
    for undo in undos:
        values = {name: (undo.before or {})[name] for name in undo.fields}
        if own := columns(model, values):
            rows.filter(pk=undo.key).update(**own)
        model.write_extra_state(undo.key, undo.before, using=using)
    after = stored_states(model, [undo.key for undo in undos], using=using)
    record(
        model,
        [Change(key=undo.key, before=stored.get(undo.key), after=after[undo.key]) for undo in undos],
        using=using,
    )


def find_faults(undos: Iterable[Undo], *, using: str) -> list[str]:
    """The rules that the rows break as they are now, a sentence each."""
    reasons = []
    for undo in undos:
        if undo.before is None:
            continue
        row = undo.model._base_manager.using(using).get(pk=undo.key)
        row.compared_with = undo.after or {}
        try:
            validate(row)
        except ValidationError as error:
            reasons += [f"The {undo.label}: {message}" for message in error.messages]
    return list(dict.fromkeys(reasons))


def validate(row: Any) -> None:
    """As `full_clean` does, but values that were stored before are not refused for themselves, only references."""
    row.clean_fields(exclude={each.name for each in row._meta.concrete_fields if not each.is_relation})
    row.clean()
    row.validate_unique()
    row.validate_constraints()
