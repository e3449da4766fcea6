"""Owners and privileges of the objects of a database: read in one query, and compared with those of another one.

Read are the objects of the database's users, default privileges, and what differs from the state in which initdb or an
extension created its objects. Names of roles and objects are quoted as SQL needs them.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct
from psycopg2.extensions import cursor as Cursor  # noqa: N812

from ops.databases.postgres.differences import Difference
from ops.utils.schema import Text


def grants_of(acl: str, owner: str) -> str:
    """SQL for the entries of `acl` as `Grant`. The grantee '' is the owner, who may change."""
    return f"""(
  SELECT coalesce(json_agg(json_build_array(
           CASE grantee WHEN 0 THEN 'PUBLIC' WHEN {owner} THEN '' ELSE quote_ident(pg_get_userbyid(grantee)) END,
           privilege_type, is_grantable AND grantee <> {owner})), '[]')
  FROM aclexplode({acl}))"""


DATABASE = """
  SELECT 'pg_database'::regclass, oid, 0, 'd'::"char", datdba, datacl, false
  FROM pg_database WHERE datname = %s"""
"""The parameter is the name of the database."""
OBJECTS = f"""{DATABASE}
  UNION ALL SELECT 'pg_namespace'::regclass, oid, 0, 'n', nspowner, nspacl, false
  FROM pg_namespace WHERE nspname !~ '^pg_(toast|temp)'
  UNION ALL SELECT 'pg_class'::regclass, oid, 0, CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner, relacl,
                   false
  FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND relpersistence <> 't'
  UNION ALL SELECT 'pg_class'::regclass, attrelid, attnum, 'c', relowner, attacl, false
  FROM pg_attribute JOIN pg_class AS c ON c.oid = attrelid WHERE attacl IS NOT NULL AND NOT attisdropped
  UNION ALL SELECT 'pg_proc'::regclass, p.oid, 0, 'f', proowner, proacl,
                   prosecdef AND NOT rolsuper
  FROM pg_proc AS p JOIN pg_roles AS r ON r.oid = proowner
  UNION ALL SELECT 'pg_type'::regclass, t.oid, 0, 'T', typowner, typacl, false
  FROM pg_type AS t LEFT JOIN pg_class AS c ON c.oid = typrelid
  WHERE (typtype IN ('b', 'd', 'e', 'r') OR relkind = 'c') AND t.oid NOT IN (SELECT typarray FROM pg_type)
  UNION ALL SELECT 'pg_language'::regclass, oid, 0, 'l', lanowner, lanacl, false FROM pg_language
  UNION ALL SELECT 'pg_foreign_data_wrapper'::regclass, oid, 0, 'F', fdwowner, fdwacl, false
  FROM pg_foreign_data_wrapper
  UNION ALL SELECT 'pg_foreign_server'::regclass, oid, 0, 'S', srvowner, srvacl, false FROM pg_foreign_server
  UNION ALL SELECT 'pg_largeobject'::regclass, oid, 0, 'L', lomowner, lomacl, false FROM pg_largeobject_metadata
  UNION ALL SELECT classid, oid, 0, NULL, owner, NULL, false FROM (
    SELECT 'pg_collation'::regclass, oid, collowner FROM pg_collation
    UNION ALL SELECT 'pg_conversion'::regclass, oid, conowner FROM pg_conversion
    UNION ALL SELECT 'pg_operator'::regclass, oid, oprowner FROM pg_operator
    UNION ALL SELECT 'pg_opclass'::regclass, oid, opcowner FROM pg_opclass
    UNION ALL SELECT 'pg_opfamily'::regclass, oid, opfowner FROM pg_opfamily
    UNION ALL SELECT 'pg_statistic_ext'::regclass, oid, stxowner FROM pg_statistic_ext
    UNION ALL SELECT 'pg_ts_config'::regclass, oid, cfgowner FROM pg_ts_config
    UNION ALL SELECT 'pg_ts_dict'::regclass, oid, dictowner FROM pg_ts_dict
    UNION ALL SELECT 'pg_event_trigger'::regclass, oid, evtowner FROM pg_event_trigger
    UNION ALL SELECT 'pg_publication'::regclass, oid, pubowner FROM pg_publication) AS others(classid, oid, owner)"""


def rights_of(objects: str) -> str:
    """SQL for the rights on `objects`: of what initdb or an extension made, what was changed, and the schema public.

    16384 is the first oid that initdb does not give. It records no initial privileges of the information schema, where
    it grants SELECT to PUBLIC on what is not internal. A subquery looks the schema public up once, not for each object.
    """
    return rf"""
WITH objects(classid, objid, subid, kind, owner, acl, definer) AS ({objects}
)
SELECT i.type, CASE WHEN o.kind = 'd' THEN '' ELSE i.identity END,
       coalesce((SELECT quote_ident(attname) FROM pg_attribute WHERE attrelid = o.objid AND attnum = o.subid
                 AND o.subid <> 0), ''),
       quote_ident(pg_get_userbyid(o.owner)),
       NOT g.given OR i.identity = 'public' AND i.type = 'schema',
       {grants_of("coalesce(o.acl, acldefault(o.kind, o.owner))", "o.owner")},
       CASE WHEN g.given THEN {grants_of("g.initial", "o.owner")} END,
       o.acl IS NULL, o.definer
FROM objects AS o
LEFT JOIN pg_init_privs AS p ON p.classoid = o.classid AND p.objoid = o.objid AND p.objsubid = o.subid
LEFT JOIN pg_depend AS e ON e.classid = o.classid AND e.objid = o.objid AND e.deptype = 'e'
CROSS JOIN LATERAL pg_identify_object(o.classid, o.objid, 0) AS i
CROSS JOIN LATERAL (
  SELECT o.classid <> 'pg_database'::regclass AND (o.objid < 16384 OR e.objid IS NOT NULL),
         coalesce(p.initprivs, acldefault(o.kind, o.owner)
           || CASE WHEN o.kind = 'n' AND i.name = 'information_schema'
                     OR o.kind = 'r' AND i.schema = 'information_schema' AND NOT starts_with(i.name, '_pg_')
                        AND i.name NOT IN ('sql_parts', 'transforms')
              THEN ARRAY[makeaclitem(0, o.owner, CASE o.kind WHEN 'n' THEN 'USAGE' ELSE 'SELECT' END, false)] END)
) AS g(given, initial)
WHERE NOT g.given OR o.acl IS DISTINCT FROM p.initprivs OR o.objid = (SELECT to_regnamespace('public'))
"""


OWNED_SEQUENCES = """
SELECT (pg_identify_object(classid, objid, 0)).identity FROM pg_depend JOIN pg_class AS c ON c.oid = objid
WHERE classid = 'pg_class'::regclass AND refclassid = 'pg_class'::regclass AND deptype IN ('a', 'i') AND relkind = 'S'
"""
"""Sequences whose owner is that of their table."""
DEFAULTS = f"""
SELECT quote_ident(pg_get_userbyid(defaclrole)), coalesce(quote_ident(nspname), ''), defaclobjtype,
       {grants_of("defaclacl", "defaclrole")},
       {
    grants_of(
        '''CASE WHEN defaclnamespace = 0 THEN
         acldefault(CASE defaclobjtype WHEN 'S' THEN 's' ELSE defaclobjtype END, defaclrole) END''',
        "defaclrole",
    )
}
FROM pg_default_acl LEFT JOIN pg_namespace AS n ON n.oid = defaclnamespace
"""
"""Those for one schema are added to those for all, or to PostgreSQL's own."""
KEYWORDS = {
    "view": "TABLE",
    "materialized view": "TABLE",
    "foreign table": "TABLE",
    "function": "ROUTINE",
    "procedure": "ROUTINE",
    "aggregate": "ROUTINE",
    "foreign-data wrapper": "FOREIGN DATA WRAPPER",
    "server": "FOREIGN SERVER",
    "statistics object": "STATISTICS",
}
"""The word of GRANT … ON and ALTER for a type of `pg_identify_object`, where it is another one."""
DEFAULT_KEYWORDS = {
    "r": "TABLES",
    "S": "SEQUENCES",
    "f": "ROUTINES",
    "T": "TYPES",
    "n": "SCHEMAS",
    "L": "LARGE OBJECTS",
}
DEFAULT = "DEFAULT PRIVILEGES"


class Grant(NamedTuple):
    """A privilege of a role, of PUBLIC, or of the owner ('')."""

    grantee: str
    privilege: str
    grantable: bool


class ObjectName(NamedTuple):
    """An object of a database. Of default privileges, `identity` is ``FOR ROLE … IN SCHEMA …``."""

    kind: str
    identity: str
    column: str = ""
    """A column of a table; of default privileges the kind of objects that get them."""

    def __str__(self) -> str:
        if self.kind == DEFAULT:
            return f"new {self.column.lower()} ({self.identity})"
        column = f"column {self.column} of " if self.column else ""
        return f"{column}{self.kind.lower()} {self.identity}"


class ObjectRights(Struct, frozen=True, kw_only=True):
    """Owner and privileges of an object.

    `initial` privileges have objects that initdb or an extension made, columns, and new objects without default
    privileges, when they are not listed.
    """

    name: ObjectName
    owner: Text
    has_own_owner: bool
    """Not so the objects of an extension, and sequences that belong to a column."""
    grants: tuple[Grant, ...]
    initial: tuple[Grant, ...] | None = None
    default: bool = False
    """Nobody has changed its privileges."""
    definer: bool = False
    """A function that runs with the rights of its owner, who is no superuser."""

    @property
    def is_given(self) -> bool:
        """Whether PostgreSQL or an extension makes the object in each database, and its owner may not change it."""
        return (
            self.initial is not None and not self.name.column and self.name.kind != DEFAULT and not self.has_own_owner
        )


Objects = Mapping[ObjectName, ObjectRights]


# --- Read -------------------------------------------------------------------------------------------------------------
def read_objects(cursor: Cursor, database: str) -> tuple[ObjectRights, ...]:
    """The rights on `database`, which is that of `cursor`, and in it."""
    cursor.execute(OWNED_SEQUENCES)
    owned = {identity for (identity,) in cursor.fetchall()}
    cursor.execute(rights_of(OBJECTS), [database])
    objects = [read_object(row, owned) for row in cursor.fetchall()]
    cursor.execute(DEFAULTS)
    objects += [read_default(row) for row in cursor.fetchall()]
    public = ObjectName("SCHEMA", "public")
    return tuple(found for found in objects if found.grants != found.initial or found.name == public)


def read_database_rights(cursor: Cursor, database: str) -> tuple[ObjectRights, ...]:
    """The rights on `database`, of which `cursor` need not be."""
    cursor.execute(rights_of(DATABASE), [database])
    return tuple(read_object(row, set()) for row in cursor.fetchall())


def read_object(row: Sequence[Any], owned_sequences: set[str]) -> ObjectRights:
    kind, identity, column, owner, has_own_owner, grants, initial, default, definer = row
    return ObjectRights(
        name=ObjectName(KEYWORDS.get(kind, kind.upper()), identity, column),
        owner=owner,
        has_own_owner=has_own_owner and not column and identity not in owned_sequences,
        grants=read_grants(grants),
        initial=() if column else None if initial is None else read_grants(initial),
        default=default,
        definer=definer,
    )


def read_default(row: Sequence[Any]) -> ObjectRights:
    role, schema, kind, grants, initial = row
    where = f"FOR ROLE {role}{f' IN SCHEMA {schema}' if schema else ''}"
    return ObjectRights(
        name=ObjectName(DEFAULT, where, DEFAULT_KEYWORDS.get(kind, kind)),
        owner=role,
        has_own_owner=False,
        grants=read_grants(grants),
        initial=read_grants(initial),
    )


def read_grants(entries: Iterable[tuple[str, str, bool]]) -> tuple[Grant, ...]:
    return tuple(sorted(Grant(*entry) for entry in entries))


# --- Compare ----------------------------------------------------------------------------------------------------------
def compare_objects(
    wanted: Iterable[ObjectRights], found: Iterable[ObjectRights], *, database: str
) -> Iterator[Difference]:
    """What gives the `found` objects the `wanted` rights. Objects that only one of the databases has stay as they are.

    `database` is the name of the database in the statements, quoted.
    """
    there, here = ({rights.name: rights for rights in each} for each in (wanted, found))
    for name in sorted({*there, *here}, key=order):
        after, before = find_pair(there.get(name), here.get(name), here)
        if after and before:
            yield from compare_owner(after, before, database)
            yield from compare_grants(after, before, database)


def order(name: ObjectName) -> tuple[bool, ObjectName]:
    """Schemas first: an owner needs the right to create objects in its schema."""
    return name.kind not in ("SCHEMA", "DATABASE"), name


def find_pair(
    wanted: ObjectRights | None, found: ObjectRights | None, existing: Objects
) -> tuple[ObjectRights | None, ObjectRights | None]:
    """Both, with the initial rights for an object that one of them does not list."""
    if wanted and not found and wanted.initial is not None and may_exist(wanted.name, existing):
        return wanted, initial_rights(wanted)
    if found and not wanted and found.initial is not None:
        return initial_rights(found), found
    return wanted, found


def may_exist(name: ObjectName, existing: Objects) -> bool:
    """Whether the table of a column, or the schema of default privileges, is there."""
    if name.kind == DEFAULT:
        schema = name.identity.partition(" IN SCHEMA ")[2]
        return not schema or ObjectName("SCHEMA", schema) in existing
    return not name.column or name._replace(column="") in existing


def initial_rights(rights: ObjectRights) -> ObjectRights:
    return ObjectRights(
        name=rights.name, owner=rights.owner, has_own_owner=False, grants=rights.initial or (), initial=None
    )


def within(objects: Iterable[ObjectRights], schema: str, *, renamed: str) -> list[ObjectRights]:
    """Those in the `schema` that belong to no extension, with the names that they have when it is `renamed`."""
    return [
        msgspec.structs.replace(
            rights, name=rights.name._replace(identity=rights.name.identity.replace(f"{schema}.", f"{renamed}."))
        )
        for rights in objects
        if not rights.initial and rights.name.identity.startswith(f"{schema}.")
    ]


def compare_owner(wanted: ObjectRights, found: ObjectRights, database: str) -> Iterator[Difference]:
    if wanted.owner == found.owner or not (wanted.has_own_owner and found.has_own_owner):
        return
    keyword = "SERVER" if wanted.name.kind == "FOREIGN SERVER" else wanted.name.kind
    yield Difference(
        key=f"owner of {wanted.name}",
        what=f"the owner {wanted.owner} of the {wanted.name}",
        statement=f"ALTER {keyword} {wanted.name.identity or database} OWNER TO {wanted.owner};",
        owner=True,
        widens=f"{wanted.name.identity} would run with the rights of {found.owner} instead of {wanted.owner}"
        if wanted.definer
        else "",
    )


def compare_grants(wanted: ObjectRights, found: ObjectRights, database: str) -> Iterator[Difference]:
    name, owner = wanted.name, found.owner
    surplus = {
        grant for grant in {*found.grants} - {*wanted.grants} if grant._replace(grantable=True) not in wanted.grants
    }
    for grantee, entries in by_grantee(surplus):
        privileges = ", ".join(sorted({grant.privilege for grant in entries}))
        whom = grantee or owner
        yield Difference(
            key=f"{name} for {whom}",
            what=f"no {privileges} on the {name} for {whom}",
            statement=on_object("REVOKE", entries, name, database) + f" FROM {whom} CASCADE;",
            widens="" if name.kind == DEFAULT or not grantee else f"{whom} would have {privileges} on the {name}",
            in_template=wanted.is_given,
        )
    # Revoking a grant option revokes the privilege as well.
    revoked = {(grant.grantee, grant.privilege) for grant in surplus}
    missing = [
        grant for grant in wanted.grants if grant not in found.grants or (grant.grantee, grant.privilege) in revoked
    ]
    for (grantee, grantable), entries in by_option(missing):
        whom = grantee or owner
        privileges = ", ".join(sorted({grant.privilege for grant in entries}))
        yield Difference(
            key=f"{name} for {whom}",
            what=f"{privileges} on the {name} for {whom}",
            statement=on_object("GRANT", entries, name, database)
            + f" TO {whom}{' WITH GRANT OPTION' if grantable else ''};",
        )


def by_grantee(grants: Iterable[Grant]) -> Iterator[tuple[str, list[Grant]]]:
    for grantee, group in groupby(sorted(grants), key=lambda grant: grant.grantee):
        yield grantee, list(group)


def by_option(grants: Iterable[Grant]) -> Iterator[tuple[tuple[str, bool], list[Grant]]]:
    ordered = sorted(grants, key=lambda grant: (grant.grantee, grant.grantable, grant.privilege))
    for key, group in groupby(ordered, key=lambda grant: (grant.grantee, grant.grantable)):
        yield key, list(group)


def on_object(verb: str, grants: Iterable[Grant], name: ObjectName, database: str) -> str:
    privileges = sorted({grant.privilege for grant in grants})
    if name.kind == DEFAULT:
        return f"ALTER {DEFAULT} {name.identity} {verb} {', '.join(privileges)} ON {name.column}"
    if name.column:
        privileges = [f"{privilege} ({name.column})" for privilege in privileges]
    return f"{verb} {', '.join(privileges)} ON {name.kind} {name.identity or database}"
