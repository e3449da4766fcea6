"""The base of all inventory models: rules that hold for forms, scripts and commands alike.

The rules are `clean()` methods, and `save()` runs them. They are not database constraints, because rows of legacy
files may break them and must still be migrated without loss. For the same reason a rule checks only changed fields: a
row that breaks a rule can be renamed, and is shown as a warning, but no change may break a rule. `QuerySet.update()`
runs no rules, as everywhere in Django.

`homerack.history` records what is written, by all of these ways.
"""

import math
from collections.abc import Collection, Iterable
from typing import Any, TypeVar

from django.core.exceptions import ValidationError
from django.db import models, router, transaction

from homerack.history.change_sets import any_change_set
from homerack.history.tracking import TrackedModel, TrackedQuerySet

ModelT = TypeVar("ModelT", bound=models.Model)


def validate_positive(value: float) -> None:
    if not 0 < value < math.inf:
        raise ValidationError("Enter a number greater than 0.", code="positive")


def validate_not_negative(value: float) -> None:
    if not 0 <= value < math.inf:
        raise ValidationError("Enter 0 or a greater number.", code="not_negative")


class ValidatedQuerySet(TrackedQuerySet[ModelT]):
    """Bulk methods save row by row, so that each row is validated against those before it."""

    def bulk_create(self, objs: Iterable[ModelT], batch_size: int | None = None, **options: Any) -> list[ModelT]:  # type: ignore[override]  # noqa: ARG002
        if options:
            raise TypeError(f"Rows that are validated cannot be created with {', '.join(sorted(options))}.")
        rows = list(objs)
        with transaction.atomic(using=self.db), any_change_set():
            for row in rows:
                row.save(using=self.db, force_insert=True)
        return rows

    def bulk_update(self, objs: Iterable[ModelT], fields: Iterable[str], batch_size: int | None = None) -> int:  # noqa: ARG002
        rows, names = list(objs), list(fields)
        with transaction.atomic(using=self.db), any_change_set():
            for row in rows:
                row.save(using=self.db, update_fields=names)
        return len(rows)


ValidatedManager = models.Manager.from_queryset(ValidatedQuerySet)


class ValidatedModel(TrackedModel):
    """A row that is validated when it is saved."""

    validated_by_formset = False
    """Set on an instance by a form set that has validated all its rows together, as for a swap of two devices."""

    invalid_fields: frozenset[str] = frozenset()
    """The fields whose new values were refused one by one. Rules about several fields say nothing about these."""

    compared_with: dict[str, Any] | None = None
    """What counts as the stored values, for a row that is validated after it was written. None: what is stored."""

    objects = ValidatedManager()

    class Meta:
        abstract = True

    def save(self, *args: Any, **options: Any) -> None:
        """Validate, then save. Raises ValidationError, and changes nothing, if a rule is broken."""
        using = options.get("using") or router.db_for_write(type(self), instance=self)
        with transaction.atomic(using=using):
            self.lock_rows()
            self.set_defaults()
            if not self.validated_by_formset:
                self.full_clean()
            super().save(*args, **options)

    def stored_values(self) -> dict[str, Any]:
        """The stored values by attribute name (``rack_id``, not ``rack``); empty for a new row."""
        if self.compared_with is not None:
            return self.compared_with
        if self._state.adding or self.pk is None:
            return {}
        stored = type(self)._base_manager.filter(pk=self.pk).values().first()
        return dict(stored) if stored else {}

    def changed_fields(self) -> frozenset[str]:
        """The names of fields whose value differs from the stored one; all fields for a new row."""
        stored = self.stored_values()
        fields = self._meta.concrete_fields
        return frozenset(
            field.name
            for field in fields
            if field.attname not in stored or stored[field.attname] != getattr(self, field.attname)
        )

    def clean_fields(self, exclude: Collection[str] | None = None) -> None:
        """Validate changed values only: unchanged values of a legacy file stay as they are."""
        unchanged = {field.name for field in self._meta.concrete_fields} - self.changed_fields()
        self.invalid_fields = frozenset()
        try:
            super().clean_fields(exclude={*(exclude or ()), *unchanged})
        except ValidationError as error:
            self.invalid_fields = frozenset(error.error_dict)
            raise

    def lock_rows(self) -> None:
        """Called in the transaction of `save()`, before the rules: lock the rows that the rules read."""

    def set_defaults(self) -> None:
        """Called after `lock_rows`, before the rules: set the fields that follow from others."""


class LegacyFields(ValidatedModel):
    """A row that may keep what HomeRack 1.0.1 stored of it and HomeRack does not use."""

    legacy_fields = models.JSONField("legacy fields", null=True, blank=True, editable=False)
    """The names and values of columns of a file of HomeRack 1.0.1; None for a row that has none."""

    class Meta:
        abstract = True


def lock(rows: models.QuerySet[Any]) -> None:
    """Lock `rows` until the transaction ends (PostgreSQL; SQLite has a single writer).

    Without it two users could put devices into the same unit: each transaction would validate before the other one
    commits. NO KEY UPDATE does not block the key-share locks that inserts of referring rows take. The order by key
    prevents deadlocks.
    """
    list(rows.order_by("pk").select_for_update(no_key=True).values_list("pk"))
