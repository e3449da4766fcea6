"""The history as pages show it: change sets, the rows that each has changed, and old and new values as texts.

A `Scope` says which rows a page is about. The number of queries depends on the number of models, not of rows.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from django.db.models import Count, Exists, Min, Model, OuterRef, Q, QuerySet, Subquery, Value
from django.utils.text import capfirst

from homerack.history.as_of import instance_of
from homerack.history.models import ChangeSet
from homerack.history.related import Related, name_of, relate, related_rows
from homerack.history.values import EMPTY, text_of


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What a page is about, by model: historical rows, and the names of the fields that the user may see.

    Models that the user may not view are not in it.
    """

    rows: Mapping[type[Model], QuerySet[Any]]
    fields: Mapping[type[Model], Container[str]]


STATES = {"+": "created", "~": "changed", "-": "deleted"}
ROWS_OF_ENTRY = 5
"""Rows of one change set and model that a list shows; the page of the change set has the others.

The keys of historical rows of one change set follow one another, but each may have a baseline before it.
"""
SHOWN_IN_LIST = 8
"""Rows of one change set that a list shows."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A field and its values as texts. `old` is None for a created row, `new` for a deleted one."""

    label: str
    old: str | None
    new: str | None


@dataclass(frozen=True, kw_only=True)
class ChangedRow:
    """What happened to one row. `key` is the row's own key, `pk` that of the historical row."""

    model: type[Model]
    pk: int
    key: Any
    state: str
    name: str
    cells: tuple[Cell, ...]

    @property
    def kind(self) -> str:
        return str(self.model._meta.verbose_name)


@dataclass(frozen=True, kw_only=True)
class Counted:
    """How many rows of a model a change set has in one state; `first` is the key of the first historical row."""

    model: type[Model]
    state: str
    number: int
    first: int

    def __str__(self) -> str:
        names = self.model._meta
        return f"{self.number:,} {names.verbose_name if self.number == 1 else names.verbose_name_plural} {self.state}"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A change set with the first of its rows."""

    change_set: ChangeSet
    counts: tuple[Counted, ...] = ()
    rows: tuple[ChangedRow, ...] = ()

    @property
    def total(self) -> int:
        return sum(count.number for count in self.counts)

    @property
    def further(self) -> int:
        return self.total - len(self.rows)

    @property
    def further_text(self) -> str:
        """``and 195 more rows``; of an entry of which no row is shown ``200 rows``."""
        rows = f"row{'' if self.further == 1 else 's'}"
        return f"and {self.further:,} more {rows}" if self.rows else f"{self.further:,} {rows}"

    @property
    def heading(self) -> str:
        """What was done, in a few words. The description of a page is its address, which says less than its rows."""
        description = self.change_set.description
        if description and not description.startswith("/"):
            return description
        if self.total == 1 and self.rows:
            row = self.rows[0]
            return f"{capfirst(row.kind)} {row.name} {row.state}"
        return ", ".join(map(str, self.counts)) or "No row changed"


@dataclass(frozen=True, kw_only=True)
class Page:
    """Entries, newest first. `newer` and `older` are the keys of change sets that the next pages begin after."""

    entries: tuple[Entry, ...] = field(default=())
    newer: int | None = None
    older: int | None = None


# --- Which change sets ----------------------------------------------------------------------------------------------
def in_scope(scope: Scope) -> Q:
    """A condition for change sets: those with a row of `scope`."""
    found = Q(pk__in=[])
    for rows in scope.rows.values():
        found |= Q(Exists(rows.filter(change_set=OuterRef("pk"))))
    return found


def read_page(
    change_sets: QuerySet[ChangeSet], scope: Scope, *, size: int, older: int | None = None, newer: int | None = None
) -> Page:
    """`size` of `change_sets`: the newest, those that are `older` than this one, or the next that are `newer`."""
    cursor = older or newer
    known = ChangeSet.objects.filter(pk=cursor).values_list("time", "pk").first() if cursor else None
    if known is None:
        found = list(change_sets.order_by("-time", "-pk")[: size + 1])
        return fill(found[:size], scope, newer=False, older=len(found) > size)
    time, key = known
    if older:
        later = change_sets.filter(Q(time__lt=time) | Q(time=time, pk__lt=key)).order_by("-time", "-pk")
        found = list(later[: size + 1])
        return fill(found[:size], scope, newer=True, older=len(found) > size)
    earlier = change_sets.filter(Q(time__gt=time) | Q(time=time, pk__gt=key)).order_by("time", "pk")
    found = list(earlier[: size + 1])
    return fill(found[:size][::-1], scope, newer=len(found) > size, older=True)


def fill(change_sets: Sequence[ChangeSet], scope: Scope, *, newer: bool, older: bool) -> Page:
    entries = entries_of(change_sets, scope)
    return Page(
        entries=entries,
        newer=change_sets[0].pk if newer and change_sets else None,
        older=change_sets[-1].pk if older and change_sets else None,
    )


# --- Their rows -----------------------------------------------------------------------------------------------------
def entries_of(change_sets: Iterable[ChangeSet], scope: Scope) -> tuple[Entry, ...]:
    """Each of `change_sets` with its counts and its first rows."""
    entries = [Entry(change_set=each) for each in change_sets]
    counts = count_rows([entry.change_set for entry in entries], scope)
    shown: dict[int, list[tuple[type[Model], Any]]] = {}
    for model in scope.rows:
        for key, rows in first_rows(model, counts, scope).items():
            shown.setdefault(key, []).extend((model, row) for row in rows[:ROWS_OF_ENTRY])
    shown = {key: pairs[:SHOWN_IN_LIST] for key, pairs in shown.items()}
    described = describe_rows([pair for pairs in shown.values() for pair in pairs], scope)
    return tuple(
        replace(
            entry,
            counts=tuple(counts.get(entry.change_set.pk, ())),
            rows=tuple(described[model, row.pk] for model, row in shown.get(entry.change_set.pk, ())),
        )
        for entry in entries
    )


def first_rows(model: type[Model], counts: Mapping[int, Sequence[Counted]], scope: Scope) -> dict[int, list[Any]]:
    """The first historical rows of `model`, by the key of the change set."""
    wanted = Q(pk__in=[])
    for key, found in counts.items():
        if firsts := [count.first for count in found if count.model is model]:
            first = min(firsts)
            wanted |= Q(change_set=key, history_id__range=(first, first + 2 * ROWS_OF_ENTRY - 1))
    rows: dict[int, list[Any]] = {}
    # A condition that nothing meets needs no query.
    for row in scope.rows[model].filter(wanted).order_by("history_id"):
        rows.setdefault(row.change_set_id, []).append(row)
    return rows


def count_rows(change_sets: Sequence[ChangeSet], scope: Scope) -> dict[int, list[Counted]]:
    """By the key of the change set. One query for all models."""
    models = list(scope.rows)
    keys = [each.pk for each in change_sets]
    if not models or not keys:
        return {}
    counted = [
        scope.rows[model]
        .filter(change_set__in=keys)
        .order_by()
        .values("change_set_id", "history_type")
        .annotate(number=Count("pk"), first=Min("pk"), model=Value(index))
        .values_list("change_set_id", "history_type", "number", "first", "model")
        for index, model in enumerate(models)
    ]
    found: dict[int, list[Counted]] = {}
    lines: Iterable[Any] = counted[0].union(*counted[1:], all=True)
    for key, state, number, first, index in sorted(lines, key=lambda line: (line[4], "+~-".index(line[1]))):
        one = Counted(model=models[index], state=STATES[state], number=number, first=first)
        found.setdefault(key, []).append(one)
    return found


def rows_between(change_set: ChangeSet, counts: Sequence[Counted], scope: Scope, wanted: range) -> list[ChangedRow]:
    """The rows of `change_set` with the numbers `wanted`, from 0, of all its rows: model after model."""
    found: list[tuple[type[Model], Any]] = []
    passed = 0
    for model, rows in scope.rows.items():
        number = sum(count.number for count in counts if count.model is model)
        first, end = max(wanted.start - passed, 0), min(wanted.stop - passed, number)
        if first < end:
            ordered = rows.filter(change_set=change_set).order_by("history_id")
            found += [(model, row) for row in ordered[first:end]]
        passed += number
    described = describe_rows(found, scope)
    return [described[model, row.pk] for model, row in found]


def describe_rows(rows: Sequence[tuple[type[Model], Any]], scope: Scope) -> dict[tuple[type[Model], int], ChangedRow]:
    """Historical rows, each with its model, as users read them. By model and key of the historical row."""
    current: dict[type[Model], list[Any]] = {}
    for model, row in rows:
        current.setdefault(model, []).append(row)
    before = {model: previous_rows(model, those) for model, those in current.items()}
    related = related_rows({model: [*those, *before[model].values()] for model, those in current.items()})
    return {
        (model, row.pk): describe(model, row, before[model].get(row.pk), related, scope.fields[model])
        for model, those in current.items()
        for row in those
    }


def previous_rows(model: type[Model], rows: Sequence[Any]) -> dict[int, Any]:
    """The historical row before each of `rows` of the same row, by the key of the later one."""
    history, key = type(rows[0]), model._meta.pk.attname
    earlier = history._base_manager.filter(**{key: OuterRef(key)}, history_id__lt=OuterRef("history_id"))
    newest = Subquery(earlier.order_by("-history_id").values("history_id")[:1])
    wanted = [row.pk for row in rows if row.history_type == "~"]
    pairs = dict(history._base_manager.filter(pk__in=wanted).annotate(newest=newest).values_list("pk", "newest"))
    found = history._base_manager.in_bulk([earlier for earlier in pairs.values() if earlier is not None])
    return {later: found[earlier] for later, earlier in pairs.items() if earlier in found}


def describe(model: type[Model], row: Any, before: Any, related: Related, visible: Container[str]) -> ChangedRow:
    instance = instance_of(row)
    relate(model, [instance], related)
    return ChangedRow(
        model=model,
        pk=row.pk,
        key=instance.pk,
        state=STATES[row.history_type],
        name=name_of(instance),
        cells=tuple(cells_of(shown_fields(model, row, visible), row, before, related)),
    )


def cells_of(fields: Iterable[Any], row: Any, before: Any, related: Related) -> Iterable[Cell]:
    """Of a created or deleted row what is not empty; of a changed one what differs."""
    for one in fields:
        names = names_for(one, related)
        value = getattr(row, one.attname)
        text, label = text_of(one, value, names), str(capfirst(one.verbose_name))
        if row.history_type != "~":
            is_new = row.history_type == "+"
            if text != EMPTY:
                yield Cell(label=label, old=None if is_new else text, new=text if is_new else None)
        elif before is None:
            yield Cell(label=label, old="not recorded", new=text)
        elif (old := getattr(before, one.attname)) != value:
            yield Cell(label=label, old=text_of(one, old, names), new=text)


def names_for(one: Any, related: Related) -> dict[Any, str]:
    rows = related.get(one.related_model, {}) if one.is_relation else {}
    return {key: name_of(row) for key, row in rows.items()}


def shown_fields(model: Any, row: Any, visible: Container[str]) -> list[Any]:
    """The recorded fields of `visible`: those of the model, then what other tables have of the row."""
    recorded = {each.attname for each in row._meta.concrete_fields}
    own = [each for each in model._meta.concrete_fields if each.attname in recorded and each.name in visible]
    others = [row._meta.get_field(name) for name in model.extra_history_fields if name in visible]
    return [each for each in own if each.name != "created_at"] + others
