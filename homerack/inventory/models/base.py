"""What all inventory models share: rules that hold whichever door a row comes in by.

The rules are `clean()` methods, and `save()` runs them: the console's forms, scripts and commands all meet them.
They are not database constraints, because rows of legacy files may break them and must still move over without loss.
For the same reason a rule looks only at what changed: a row that came in crooked can be renamed, and is reported as
a warning, but can not be made worse. `QuerySet.update()` speaks to the database alone, here as everywhere in Django.
"""

import math
from collections.abc import Collection, Iterable
from typing import Any, TypeVar

from django.core.exceptions import ValidationError
from django.db import models, router, transaction

ModelT = TypeVar("ModelT", bound=models.Model)


def validate_positive(value: float) -> None:
    if not 0 < value < math.inf:
        raise ValidationError("Enter a number above 0.", code="positive")


def validate_not_negative(value: float) -> None:
    if not 0 <= value < math.inf:
        raise ValidationError("Enter 0 or a number above it.", code="not_negative")


class CheckedQuerySet(models.QuerySet[ModelT]):
    """Saves rows made in bulk one by one, so that each meets the rules and sees the ones before it."""

    def bulk_create(self, objs: Iterable[ModelT], batch_size: int | None = None, **options: Any) -> list[ModelT]:  # type: ignore[override]  # noqa: ARG002
        if options:
            raise TypeError(f"Rows that have rules can not be made with {', '.join(sorted(options))}.")
        rows = list(objs)
        with transaction.atomic(using=self.db):
            for row in rows:
                row.save(using=self.db, force_insert=True)
        return rows

    def bulk_update(self, objs: Iterable[ModelT], fields: Iterable[str], batch_size: int | None = None) -> int:  # noqa: ARG002
        rows, names = list(objs), list(fields)
        with transaction.atomic(using=self.db):
            for row in rows:
                row.save(using=self.db, update_fields=names)
        return len(rows)


CheckedManager = models.Manager.from_queryset(CheckedQuerySet)


class ValidatedModel(models.Model):
    """A row that is checked when it is saved."""

    checked_together = False
    """Set on an instance by a form set that has checked all its rows at once: two devices may swap places."""

    objects = CheckedManager()

    class Meta:
        abstract = True

    def save(self, *args: Any, **options: Any) -> None:
        """Check the rules, then save. Raises ValidationError and changes nothing if one is broken."""
        using = options.get("using") or router.db_for_write(type(self), instance=self)
        with transaction.atomic(using=using):
            self.prepare()
            if not self.checked_together:
                self.full_clean()
            super().save(*args, **options)

    def stored_values(self) -> dict[str, Any]:
        """The row as the database has it, by column attribute; empty for a new one."""
        if self._state.adding or self.pk is None:
            return {}
        stored = type(self)._base_manager.filter(pk=self.pk).values().first()
        return dict(stored) if stored else {}

    def changed(self) -> frozenset[str]:
        """The fields whose value is not the stored one; all of them for a new row."""
        stored = self.stored_values()
        fields = self._meta.concrete_fields
        return frozenset(
            field.name
            for field in fields
            if field.attname not in stored or stored[field.attname] != getattr(self, field.attname)
        )

    def clean_fields(self, exclude: Collection[str] | None = None) -> None:
        """Check the values that changed. What came from elsewhere may stay as it is."""
        unchanged = {field.name for field in self._meta.concrete_fields} - self.changed()
        super().clean_fields(exclude={*(exclude or ()), *unchanged})

    def prepare(self) -> None:
        """In the transaction of `save()`, before the rules: fill in, and lock the rows that the rules look at."""


def lock(rows: models.QuerySet[Any]) -> None:
    """Keep `rows` as they are until the transaction ends (PostgreSQL; SQLite has one writer at a time anyway).

    Two people who place devices into one rack at the same moment then do so one after the other.
    """
    list(rows.order_by("pk").select_for_update(no_key=True).values_list("pk"))
