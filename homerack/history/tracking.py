"""Records every change of the rows of tracked models.

`TrackedModel` and `TrackedQuerySet` are the only way to write them: `save()`, `delete()` with what it deletes and
sets to NULL elsewhere, `update()` and the bulk methods record the rows that change, in the same transaction.
`write_rows` does so for many rows. tests/history/test_writes.py forbids other ways.

A historical row has the values after a change. The first change of a row that has no history also records the values
before it, as a baseline: a historical row without a change set.
"""

import datetime as dt
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, ClassVar, TypeVar

from django.apps import apps
from django.db import models, router, transaction
from django.utils import timezone
from simple_history.models import HistoricalRecords

from homerack.history.change_sets import any_change_set

ModelT = TypeVar("ModelT", bound=models.Model)
State = dict[str, Any]
"""The tracked values of a row by attribute name: ``rack_id``, not ``rack``."""
BEGINNING = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
"""The time of a baseline: the row had these values before its first recorded change."""
BATCH = 500
"""Rows that are read or written at once."""
CREATED, CHANGED, DELETED = "+", "~", "-"


class HistoricalRow(models.Model):
    """The base of all historical models."""

    change_set = models.ForeignKey(
        "history.ChangeSet", on_delete=models.SET_NULL, null=True, related_name="+", verbose_name="change set"
    )

    class Meta:
        abstract = True

    @property
    def is_baseline(self) -> bool:
        """Whether it is no change, but what the row was before the first one that is recorded or kept."""
        return self.change_set_id is None

    @property
    def pk_of_row(self) -> Any:
        """The key of the row that it is about."""
        return getattr(self, self.instance_type._meta.pk.attname)  # type: ignore[attr-defined]

    @property
    def state(self) -> State:
        return {name: getattr(self, name) for name in tracked_names(self.instance_type)}  # type: ignore[attr-defined]


class History(HistoricalRecords):
    """Makes the historical model of each subclass of `TrackedModel`, whose methods write its rows."""

    _date_indexing = False  # the history of one row is found by its key, a change by its change set

    def add_extra_methods(self, cls: Any) -> None:
        """None of those that save without a history."""

    def fields_included(self, model: Any) -> list[Any]:
        """Without the times of changes: they follow from the history, and would make a change of each save."""
        return [
            found
            for found in model._meta.fields
            if found.name not in model.untracked_fields and not getattr(found, "auto_now", False)
        ]

    def copy_fields(self, model: Any) -> dict[str, Any]:
        """With indexes for the keys alone."""
        fields: dict[str, Any] = super().copy_fields(model)
        for name, copied in fields.items():
            copied.db_index = name == model._meta.pk.name or isinstance(copied, models.ForeignKey)
        return fields

    def get_extra_fields(self, model: Any, fields: Any) -> dict[str, Any]:
        """Without what the change set has."""
        extra = super().get_extra_fields(model, fields)
        for name in ("history_user", "history_change_reason", "revert_url", "get_default_history_user"):
            extra.pop(name, None)
        return {**extra, **{name: made.clone() for name, made in model.extra_history_fields.items()}}

    def get_meta_options(self, model: Any) -> dict[str, Any]:
        return {**super().get_meta_options(model), "default_permissions": (), "ordering": ("-history_id",)}

    def post_save(self, *_arguments: Any, **_options: Any) -> None:
        """`save_base` records."""

    def pre_delete(self, instance: Any, using: str = "default", **options: Any) -> None:
        super().pre_delete(instance, **options)
        with any_change_set() as opened:
            opened.row(using)  # the user may be what is deleted
        instance._history_before = state_before_deletion(instance, using)  # noqa: SLF001

    def post_delete(self, instance: Any, using: str | None = None, **_options: Any) -> None:
        change = Change(key=instance.pk, before=instance.__dict__.pop("_history_before"), after=None)
        pending = _deletions.get()
        if pending is None:
            record(type(instance), [change], using=using or "default")
        else:
            pending.changes.setdefault(type(instance), []).append(change)


@dataclass(frozen=True, kw_only=True)
class Change:
    """`before` is None for a new row, and `after` for a deleted one."""

    key: Any
    before: State | None
    after: State | None


@dataclass
class Deletions:
    """What one `delete()` deletes, which is recorded at its end. `stored` has the values of rows that are in memory."""

    changes: dict[type[models.Model], list[Change]] = field(default_factory=dict)
    stored: dict[tuple[type[models.Model], Any], State] = field(default_factory=dict)


_deletions: ContextVar[Deletions | None] = ContextVar("deletions", default=None)


@contextmanager
def deletions(using: str) -> Iterator[Deletions]:
    """Record together what is deleted within. Call it in a transaction."""
    if (outer := _deletions.get()) is not None:
        yield outer
        return
    token = _deletions.set(pending := Deletions())
    try:
        yield pending
    finally:
        _deletions.reset(token)
    for model, changes in pending.changes.items():
        record(model, changes, using=using)


class TrackedQuerySet(models.QuerySet[ModelT]):
    """Records what its methods write."""

    def update(self, **values: Any) -> int:
        """Update the rows in batches, so that the history of each batch is recorded with it."""
        model: Any = self.model
        names = {model._meta.get_field(name).attname for name in values if name != "pk"}
        if self.query.is_sliced or self.query.combinator or not names & {*tracked_names(model)}:
            return super().update(**values)
        self._for_write = True
        updated = 0
        with transaction.atomic(using=self.db), any_change_set():
            for keys in batches(sorted(set(self.order_by().values_list("pk", flat=True)))):
                before = stored_states(model, keys, using=self.db)
                updated += super(TrackedQuerySet, self.order_by().filter(pk__in=keys)).update(**values)
                after = stored_states(model, keys, using=self.db)
                record(model, changes_between(before, after), using=self.db)
        return updated

    update.alters_data = True  # type: ignore[attr-defined]

    def delete(self) -> tuple[int, dict[str, int]]:
        self._for_write = True
        with transaction.atomic(using=self.db), any_change_set(), deletions(self.db):
            return super().delete()

    delete.alters_data = True  # type: ignore[attr-defined]
    delete.queryset_only = True  # type: ignore[attr-defined]

    def bulk_create(self, objs: Iterable[ModelT], batch_size: int | None = None, **options: Any) -> list[ModelT]:  # type: ignore[override]
        if options:
            raise TypeError(f"Rows with a history cannot be created with {', '.join(sorted(options))}.")
        self._for_write = True
        with transaction.atomic(using=self.db), any_change_set():
            rows = super().bulk_create(objs, batch_size)
            for created in batches(rows):
                record_created(self.model, created, using=self.db)
        return rows


class TrackedModel(models.Model):
    """A row whose changes are recorded. A subclass needs ``base_manager_name = "objects"`` in its Meta."""

    untracked_fields: ClassVar[tuple[str, ...]] = ()
    extra_history_fields: ClassVar[Mapping[str, "models.Field[Any, Any]"]] = {}
    """Fields of the historical model for what other tables have of the row. `extra_states` gives their values."""

    history: ClassVar[Any] = History(inherit=True, bases=[HistoricalRow], history_id_field=models.BigAutoField())

    class Meta:
        abstract = True

    @classmethod
    def extra_states(cls, keys: Collection[Any], *, using: str) -> dict[Any, State]:  # noqa: ARG003
        """The values of `extra_history_fields` by the key of the row."""
        return {}

    @classmethod
    def write_extra_state(cls, key: Any, state: State, *, using: str) -> None:
        """Store the values of `extra_history_fields` that `state` has."""

    def save_base(
        self,
        raw: bool = False,  # noqa: FBT001, FBT002  # as in Django
        force_insert: Any = False,  # noqa: FBT002
        force_update: bool = False,  # noqa: FBT001, FBT002
        using: str | None = None,
        update_fields: Iterable[str] | None = None,
    ) -> None:
        """What `save()` and `loaddata` call."""
        using = using or router.db_for_write(type(self), instance=self)
        written = self.written_names(update_fields)
        if not written:
            super().save_base(raw, force_insert, force_update, using, update_fields)
            return
        with transaction.atomic(using=using, savepoint=False), any_change_set():
            known = not force_insert and self.pk is not None
            before = stored_states(type(self), [self.pk], using=using).get(self.pk) if known else None
            super().save_base(raw, force_insert, force_update, using, update_fields)
            after = self.state_after(before, written, using)
            record(type(self), [Change(key=self.pk, before=before, after=after)], using=using)

    save_base.alters_data = True  # type: ignore[attr-defined]

    def delete(self, using: str | None = None, keep_parents: bool = False) -> tuple[int, dict[str, int]]:  # noqa: FBT001, FBT002
        using = using or router.db_for_write(type(self), instance=self)
        with transaction.atomic(using=using), any_change_set(), deletions(using) as pending:
            for key, state in stored_states(type(self), [self.pk], using=using).items():
                pending.stored[type(self), key] = state
            return super().delete(using, keep_parents)

    delete.alters_data = True  # type: ignore[attr-defined]

    def written_names(self, update_fields: Iterable[str] | None) -> set[str]:
        """The tracked attributes that a save writes."""
        names = {*tracked_names(type(self)), *type(self).extra_history_fields} - self.get_deferred_fields()
        if update_fields is None:
            return names
        chosen = {*update_fields}
        return {each.attname for each in self._meta.concrete_fields if {each.name, each.attname} & chosen} & names

    def state_after(self, before: State | None, written: set[str], using: str) -> State:
        if any(hasattr(getattr(self, name), "resolve_expression") for name in written if name in self.__dict__):
            return stored_states(type(self), [self.pk], using=using)[self.pk]
        if before is None:
            return state_of(self) | new_extra_state(type(self))
        fields = {each.attname: each for each in self._meta.concrete_fields}
        new = {name: fields[name].to_python(getattr(self, name)) for name in written if name in fields}
        return before | new


def tracked_names(model: Any) -> list[str]:
    """The attribute names of tracked values."""
    names: list[str] = [each.attname for each in model.history.model.tracked_fields]
    return [*names, *model.extra_history_fields]


def state_of(row: Any) -> State:
    """Without what other tables have of it."""
    return {each.attname: each.to_python(getattr(row, each.attname)) for each in row.history.model.tracked_fields}


def new_extra_state(model: Any) -> State:
    return {name: made.get_default() for name, made in model.extra_history_fields.items()}


def stored_states(model: Any, keys: Collection[Any], *, using: str) -> dict[Any, State]:
    """The states of stored rows by key, which are locked until the transaction ends."""
    names = [each.attname for each in model.history.model.tracked_fields]
    found: Any = models.QuerySet(model, using=using).filter(pk__in=keys).order_by("pk")
    rows = found.select_for_update(no_key=True)
    states: dict[Any, State] = {values[model._meta.pk.attname]: values for values in rows.values(*names)}
    for key, extra in model.extra_states([*states], using=using).items():
        states[key].update(extra)
    return states


def state_before_deletion(row: Any, using: str) -> State:
    pending = _deletions.get()
    if pending is not None and (type(row), row.pk) in pending.stored:
        return pending.stored[type(row), row.pk]
    extra: State = type(row).extra_states([row.pk], using=using).get(row.pk, {})
    return state_of(row) | extra


def changes_between(before: Mapping[Any, State], after: Mapping[Any, State]) -> list[Change]:
    return [Change(key=key, before=state, after=after[key]) for key, state in before.items() if key in after]


def record(model: Any, changes: Iterable[Change], *, using: str) -> None:
    """Write a historical row for each change, and baselines for rows that have none. Call it in a transaction."""
    changed = [change for change in changes if change.before != change.after]
    for batch in batches(changed):
        write_historical_rows(model, batch, using=using)


def write_historical_rows(model: Any, changes: Collection[Change], *, using: str) -> None:
    historical = model.history.model
    key = model._meta.pk.attname
    stored = historical.objects.using(using)
    existing = [change.key for change in changes if change.before is not None]
    known = {*stored.filter(**{f"{key}__in": existing}).order_by().values_list(key, flat=True)} if existing else set()
    now = timezone.now()
    rows = []
    with any_change_set() as opened:
        change_set = opened.row(using)
    for change in changes:
        if change.before is not None and change.key not in known:
            rows.append(historical(history_date=BEGINNING, history_type=CHANGED, **change.before))
        kind = CREATED if change.before is None else DELETED if change.after is None else CHANGED
        state: Any = change.before if change.after is None else change.after
        rows.append(historical(history_date=now, history_type=kind, change_set_id=change_set.pk, **state))
    stored.bulk_create(rows)


def record_created(model: Any, rows: Iterable[Any], *, using: str) -> None:
    extra = new_extra_state(model)
    record(model, [Change(key=row.pk, before=None, after=state_of(row) | extra) for row in rows], using=using)


class RowsGone(Exception):
    """Rows that were to be changed are not there any more. Nothing was written."""


def write_rows(
    model: Any,
    *,
    new: Iterable[models.Model] = (),
    changed: Iterable[models.Model] = (),
    fields: Collection[str] = (),
    using: str = "default",
) -> None:
    """Write rows that their importer has validated, without the rules of `save()`: all, or none.

    `new` and `changed` are read in batches, so they may be generators. Of changed rows, `fields` and the times of
    changes are written. Rows that others refer to are written in an earlier call. Raises RowsGone.
    """
    rows: Any = models.QuerySet(model, using=using)
    automatic = [each.name for each in model._meta.concrete_fields if getattr(each, "auto_now", False)]
    names = {model._meta.get_field(name).attname for name in fields}
    with transaction.atomic(using=using), any_change_set():
        for batch in batches(new):
            record_created(model, rows.bulk_create(batch), using=using)
        for batch in batches(changed):
            before = stored_states(model, [row.pk for row in batch], using=using)
            if len(before) != len(batch):
                raise RowsGone
            options = {"update_conflicts": True, "unique_fields": ["pk"], "update_fields": [*fields, *automatic]}
            rows.bulk_create(batch, **options)
            after = {row.pk: before[row.pk] | pick(state_of(row), names) for row in batch}
            record(model, changes_between(before, after), using=using)


def pick(state: State, names: Collection[str]) -> State:
    return {name: value for name, value in state.items() if name in names}


def batches(rows: Iterable[Any]) -> Iterator[list[Any]]:
    iterator = iter(rows)
    while batch := list(islice(iterator, BATCH)):
        yield batch


def tracked_models() -> list[Any]:
    """All tracked models, of all apps."""
    return [model for model in apps.get_models() if issubclass(model, TrackedModel)]


def historical_models() -> list[Any]:
    """Their historical models, in the same order."""
    return [model.history.model for model in tracked_models()]
