"""Materialized views, which keep what their query returned when they were last refreshed."""

from graphlib import TopologicalSorter

import psycopg2
from psycopg2.extensions import cursor as Cursor  # noqa: N812

from ops.databases.postgres.connection import server_message
from ops.errors import OpsError

VIEWS = """
SELECT c.oid, c.oid::regclass::text, relkind = 'm' AND relispopulated,
       ARRAY(SELECT DISTINCT refobjid FROM pg_rewrite AS rule JOIN pg_depend
             ON classid = 'pg_rewrite'::regclass AND objid = rule.oid AND refclassid = 'pg_class'::regclass
             WHERE ev_class = c.oid AND refobjid <> c.oid)
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = relnamespace
WHERE relkind IN ('v', 'm') AND nspname !~ '^pg_' AND nspname <> 'information_schema' ORDER BY c.oid
"""
"""Oid, name, whether it is a materialized view with rows, and the oids of what its query reads."""


def refresh_materialized_views(cursor: Cursor) -> None:
    """Refresh those that are populated, each after the views that it reads. Raises OpsError with the name of one."""
    cursor.execute(VIEWS)
    views = {oid: (name, populated, sources) for oid, name, populated, sources in cursor.fetchall()}
    order = TopologicalSorter({oid: sources for oid, (_, _, sources) in views.items()}).static_order()
    for name, populated, _ in (views[oid] for oid in order if oid in views):
        if not populated:
            continue
        try:
            cursor.execute(f"REFRESH MATERIALIZED VIEW {name}")
        except psycopg2.Error as error:
            raise OpsError(
                f"The materialized view {name} could not be refreshed: {server_message(error)}. Nothing was changed.",
                "Its query fails with the rows of the file: correct the rows, or the migration that creates the view.",
            ) from error
