"""Triggers and row-level security of the project: off while rows are loaded as they are, afterwards as they were."""

from dataclasses import dataclass

from psycopg2.extensions import cursor as Cursor  # noqa: N812

from ops.utils.identifiers import quoted

STATES = {"O": "ENABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS", "D": "DISABLE"}
TRIGGERS = """
SELECT relname, tgname, tgenabled::text FROM pg_trigger JOIN pg_class AS relation ON relation.oid = tgrelid
WHERE relnamespace = quote_ident(current_schema())::regnamespace AND relkind IN ('r', 'p') AND NOT tgisinternal
ORDER BY tgparentid <> 0, relname, tgname
"""
"""Those of partitions last: a change of the trigger of their parent changes them as well."""
FORCED = """
SELECT relname FROM pg_class
WHERE relnamespace = quote_ident(current_schema())::regnamespace AND relforcerowsecurity ORDER BY 1
"""


@dataclass(frozen=True, kw_only=True)
class Disabled:
    """What was switched off: (table, trigger, its state before), and tables that force row-level security."""

    triggers: tuple[tuple[str, str, str], ...]
    forced: tuple[str, ...]

    @property
    def sentences(self) -> tuple[str, ...]:
        return (
            *(
                f"The trigger {name} of {table} did not run for the migrated rows."
                for table, name, state in self.triggers
                if state != "D"
            ),
            *(f"The row-level security of {table} was not applied to the migrated rows." for table in self.forced),
        )


def disable(cursor: Cursor) -> Disabled:
    """Switch off the triggers of the current schema, and that owners of its tables are subject to their policies."""
    cursor.execute(TRIGGERS)
    triggers = tuple(cursor.fetchall())
    cursor.execute(FORCED)
    forced = tuple(name for (name,) in cursor.fetchall())
    for table, name, _ in triggers:
        cursor.execute(f"ALTER TABLE {quoted(table)} DISABLE TRIGGER {quoted(name)}")
    for table in forced:
        cursor.execute(f"ALTER TABLE {quoted(table)} NO FORCE ROW LEVEL SECURITY")
    return Disabled(triggers=triggers, forced=forced)


def enable(cursor: Cursor, disabled: Disabled) -> None:
    """Restore what `disable` has switched off."""
    for table, name, state in disabled.triggers:
        cursor.execute(f"ALTER TABLE {quoted(table)} {STATES[state]} TRIGGER {quoted(name)}")
    for table in disabled.forced:
        cursor.execute(f"ALTER TABLE {quoted(table)} FORCE ROW LEVEL SECURITY")
