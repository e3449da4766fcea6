"""All that a PostgreSQL database has beside rows, in lines that are equal for equal databases."""

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

OBJECTS = r"""
WITH own AS (SELECT oid, nspname FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema$|ops_undo$)'),
relations AS (
  SELECT pg_class.*, pg_class.oid::regclass::text AS name FROM pg_class JOIN own ON own.oid = relnamespace
  WHERE relname NOT LIKE 'ops\_%')
SELECT line FROM (
  SELECT concat_ws(' ', 'relation', name, relkind, relpersistence, relispopulated, reloptions, relrowsecurity,
    relforcerowsecurity, coalesce(relacl, acldefault('r', relowner)),
    relowner::regrole, obj_description(oid, 'pg_class'),
    CASE WHEN relkind IN ('v', 'm') THEN pg_get_viewdef(oid) END) AS line FROM relations
  UNION ALL SELECT concat_ws(' ', 'column', name, attname, format_type(atttypid, atttypmod), attnotnull,
    attcollation::regcollation, attgenerated, attidentity, attcompression, attstorage, attacl,
    col_description(attrelid, attnum), pg_get_expr(adbin, adrelid))
    FROM relations JOIN pg_attribute ON attrelid = relations.oid AND attnum > 0 AND NOT attisdropped
    LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum WHERE relkind <> 'i'
  UNION ALL SELECT concat_ws(' ', 'constraint', name, conname, convalidated, pg_get_constraintdef(pg_constraint.oid))
    FROM pg_constraint JOIN relations ON conrelid = relations.oid
  UNION ALL SELECT concat_ws(' ', 'index', pg_get_indexdef(indexrelid), indisvalid, indisclustered, indisreplident)
    FROM pg_index JOIN relations ON indrelid = relations.oid
  UNION ALL SELECT concat_ws(' ', 'trigger', tgenabled, pg_get_triggerdef(pg_trigger.oid))
    FROM pg_trigger JOIN relations ON tgrelid = relations.oid WHERE NOT tgisinternal
  UNION ALL SELECT concat_ws(' ', 'sequence', schemaname, sequencename, start_value, increment_by, cycle, last_value)
    FROM pg_sequences JOIN own ON nspname = schemaname WHERE sequencename NOT LIKE 'ops\_%'
    AND sequencename NOT IN ('django_migrations_id_seq', 'auth_permission_id_seq', 'django_content_type_id_seq')
  UNION ALL SELECT concat_ws(' ', 'function', prokind, pg_proc.oid::regprocedure,
    coalesce(proacl, acldefault('f', proowner)), proowner::regrole,
    CASE WHEN prokind <> 'a' THEN pg_get_functiondef(pg_proc.oid) END)
    FROM pg_proc JOIN own ON own.oid = pronamespace
  UNION ALL SELECT concat_ws(' ', 'type', pg_type.oid::regtype, typtype,
    coalesce(typacl, acldefault('T', typowner)), typnotnull, typdefault,
    (SELECT array_agg(enumlabel ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = pg_type.oid),
    (SELECT array_agg(pg_get_constraintdef(oid) ORDER BY conname) FROM pg_constraint WHERE contypid = pg_type.oid))
    FROM pg_type JOIN own ON own.oid = typnamespace WHERE typtype IN ('e', 'd', 'r')
  UNION ALL SELECT concat_ws(' ', 'collation', collname, collprovider, collisdeterministic, collcollate,
    to_jsonb(pg_collation) ->> 'colliculocale', to_jsonb(pg_collation) ->> 'colllocale')
    FROM pg_collation JOIN own ON own.oid = collnamespace
  UNION ALL SELECT concat_ws(' ', 'extension', extname, extversion, nspname)
    FROM pg_extension JOIN pg_namespace ON pg_namespace.oid = extnamespace
  UNION ALL SELECT concat_ws(' ', 'policy', pg_policies) FROM pg_policies JOIN own ON nspname = schemaname
  UNION ALL SELECT concat_ws(' ', 'rule', definition) FROM pg_rules JOIN own ON nspname = schemaname
  UNION ALL SELECT concat_ws(' ', 'statistics', pg_get_statisticsobjdef(pg_statistic_ext.oid)) FROM pg_statistic_ext
    JOIN own ON own.oid = stxnamespace
  UNION ALL SELECT concat_ws(' ', 'publication', pubname, puballtables, pubinsert, pubdelete,
    (SELECT array_agg(t ORDER BY tablename) FROM pg_publication_tables AS t
     WHERE t.pubname = pg_publication.pubname)) FROM pg_publication
  UNION ALL SELECT concat_ws(' ', 'schema', nspname,
    coalesce(nspacl, acldefault('n', nspowner)), nspowner::regrole, obj_description(oid, 'pg_namespace'))
    FROM pg_namespace WHERE oid IN (SELECT oid FROM own)
  UNION ALL SELECT concat_ws(' ', 'large object', lomacl, encode(lo_get(oid), 'hex')) FROM pg_largeobject_metadata
  UNION ALL SELECT concat_ws(' ', 'default rights', defaclrole::regrole, defaclobjtype, defaclacl,
    defaclnamespace::regnamespace) FROM pg_default_acl
  UNION ALL SELECT concat_ws(' ', 'setting', setrole::regrole, setconfig) FROM pg_db_role_setting
    JOIN pg_database ON pg_database.oid = setdatabase WHERE datname = current_database()
  UNION ALL SELECT concat_ws(' ', 'database', datdba::regrole,
    coalesce(datacl, acldefault('d', datdba)), datcollate, datctype, datlocprovider,
    to_jsonb(pg_database) ->> 'daticulocale', to_jsonb(pg_database) ->> 'datlocale', datconnlimit, datallowconn,
    shobj_description(oid, 'pg_database')) FROM pg_database
    WHERE datname = current_database()
) AS lines ORDER BY line COLLATE pg_catalog."C"
"""


def read_objects(connection: BaseDatabaseWrapper) -> list[str]:
    """One line for each object, sorted. Not those of `ops`, whose tables a restore writes to."""
    with transaction.atomic(), connection.cursor() as cursor:
        # With these, names have their schema, and need quotes or not.
        cursor.execute("SET LOCAL search_path = ''; SET LOCAL quote_all_identifiers = off")
        cursor.execute(OBJECTS.replace("%", "%%"), [])
        return [" ".join(line.split()) for (line,) in cursor.fetchall()]
