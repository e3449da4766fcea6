"""The import of spreadsheets: a plan, and one transaction that does it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from django.contrib.auth.hashers import make_password
from django.db import DEFAULT_DB_ALIAS, IntegrityError, connection, transaction

from homerack.accounts.models import User
from homerack.history.change_sets import change_set
from homerack.history.entry_points import EntryPoint
from homerack.history.tracking import RowsGone, write_rows
from homerack.inventory.imports.plan import ImportRefused, Plan, PlanChanged
from homerack.inventory.imports.refusals import Refused
from homerack.inventory.models import Brand, Cable, Device, DeviceModel, DeviceType, Rack, RackPosition
from homerack.inventory.spreadsheets.files import SpreadsheetFile
from homerack.inventory.spreadsheets.planning import Planner, Progress, no_progress
from homerack.inventory.spreadsheets.rows import SheetRow
from homerack.inventory.spreadsheets.tables import DEVICES, TABLES, USERS, Table

BATCH = 1000
"""Rows that are written at once."""
LOCKED = (Device, Rack, RackPosition, Cable, DeviceModel, Brand, DeviceType)
"""In the order in which forms lock their rows, so that an import and a form do not wait for each other.

Users can be changed meanwhile, as each sign-in does. The database refuses an e-mail address that was added since.
"""
RACK, START_U, IS_LOCKED = (DEVICES.index(name) for name in ("rack", "start_u", "locked"))


def plan_import(
    files: Iterable[SpreadsheetFile], *, user: User | None = None, progress: Progress = no_progress
) -> Plan[SheetRow]:
    """What an import of `files` would do. `user` is the one whose rights count; None may do everything."""
    return Planner(user, progress).plan(files)


def import_inventory(
    files: Sequence[SpreadsheetFile],
    *,
    user: User | None = None,
    seen: str | None = None,
    progress: Progress = no_progress,
) -> Plan[SheetRow]:
    """Plan and carry out in one transaction, as one change set; returns what was done.

    No other user changes the inventory meanwhile. A revert of the plan's `change_set` undoes the import.

    `seen` is the digest of the plan that the user has seen; PlanChanged is raised if there is another one by now.
    Raises ImportRefused, and imports nothing, if anything is refused.
    """
    with transaction.atomic():
        lock_tables()
        plan = plan_import(files, user=user, progress=progress)
        if plan.refused:
            raise ImportRefused(plan.refused)
        if seen not in {None, plan.digest}:
            raise PlanChanged(plan)
        try:
            with change_set(EntryPoint.IMPORT, user, f"Imported {plan.describe() or 'nothing'}") as opened:
                write(plan, progress)
        except (IntegrityError, RowsGone) as error:
            reason = "The database refuses the rows. Nothing was imported: start the import again."
            raise ImportRefused([Refused(source="the import", reason=reason)]) from error
    written = opened.written.get(DEFAULT_DB_ALIAS)
    return replace(plan, change_set=written.row.pk if written else None)


def lock_tables() -> None:
    """Others read the tables, and wait until the transaction ends before they change them.

    In SQLite the transaction is the only one that writes, from its beginning.
    """
    if connection.vendor == "postgresql":
        names = ", ".join(connection.ops.quote_name(model._meta.db_table) for model in LOCKED)
        with connection.cursor() as cursor:
            cursor.execute(f"LOCK TABLE {names} IN EXCLUSIVE MODE")


def write(plan: Plan[SheetRow], progress: Progress) -> None:
    total = sum(1 for row in plan.rows if row.is_new or row.touched)
    done = 0
    for table in TABLES.values():
        rows = [row for row in plan.rows if row.table is table]
        for batch in in_batches(row for row in rows if row.is_new):
            add_rows(table, batch)
            done += len(batch)
            progress("writing", done, total)
        for batch in in_batches(row for row in rows if row.touched):
            change_rows(table, batch)
            done += len(batch)
            progress("writing", done, total)
        if table is DEVICES:
            write_places(rows)


def in_batches(rows: Iterable[Any]) -> Iterator[list[Any]]:
    batch: list[Any] = []
    for row in rows:
        batch.append(row)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def add_rows(table: Table, rows: Sequence[SheetRow]) -> None:
    instances = [table.model(**attributes_of(row, range(len(table.columns)))) for row in rows]
    write_rows(table.model, new=instances)
    for row, instance in zip(rows, instances, strict=True):
        row.pk = instance.pk


def change_rows(table: Table, rows: Sequence[SheetRow]) -> None:
    stored = table.model._base_manager.in_bulk([row.pk for row in rows])
    changed = []
    fields: set[str] = set()
    for row in rows:
        values = attributes_of(row, row.touched)
        if values:
            instance = stored[row.pk]
            for name, value in values.items():
                setattr(instance, name, value)
            fields |= values.keys()
            changed.append(instance)
    if changed:
        write_rows(table.model, changed=changed, fields=fields)


def attributes_of(row: SheetRow, indexes: Iterable[int]) -> dict[str, Any]:
    """The fields of the model, and their values, for these columns of the table."""
    table, touched = row.table, set(indexes)
    values = {
        column.path: column.stored(row.values[index])
        for index, column in enumerate(table.columns)
        if index in touched and column.path and "__" not in column.path
    }
    for reference, target in zip(table.references, row.targets, strict=True):
        if reference.table != "racks" and (row.is_new or target != row.stored.ids[table.references.index(reference)]):  # type: ignore[union-attr]
            values[reference.attribute] = key_of(target)
    if table is USERS and row.is_new:
        values["password"] = make_password(None)
    return values


def key_of(target: Any) -> Any:
    return target.pk if isinstance(target, SheetRow) else target


def write_places(rows: Iterable[SheetRow]) -> None:
    """Positions of devices, which are stored by now."""
    added, changed, removed = [], [], []
    for row in rows:
        position = row.stored.ids[2] if row.stored else None
        rack, start_u, locked = key_of(row.targets[1]), row.values[START_U], row.values[IS_LOCKED]
        if rack is None:
            removed += [position] if position is not None else []
        elif position is None:
            added.append(RackPosition(device_id=key_of(row), rack_id=rack, start_u=start_u, locked=locked))
        elif row.stored and (rack, start_u, locked) != (row.stored.ids[1], *row.stored.values[START_U : IS_LOCKED + 1]):
            changed.append((position, {"rack_id": rack, "start_u": start_u, "locked": locked}))
    for batch in in_batches(removed):
        RackPosition.objects.filter(pk__in=batch).delete()
    for batch in in_batches(changed):
        stored = RackPosition.objects.in_bulk([position for position, _ in batch])
        for position, values in batch:
            for name, value in values.items():
                setattr(stored[position], name, value)
        write_rows(RackPosition, changed=stored.values(), fields=["rack", "start_u", "locked"])
    for batch in in_batches(added):
        write_rows(RackPosition, new=batch)
