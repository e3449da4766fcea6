"""SQL that makes the one catalogue of HomeRack from the two of a file of HomeRack 1.0.1.

There, a device has a specification (`device_specifications`), and most have a model (`models`) too. A property is that
of the model, or else that of the specification. Here, a device has a model, with the same properties:

- Where the specification adds nothing to the model, the device keeps the model.
- Where it adds the same to all devices of a model, the model gets these values; else there is a variant of the model.
- A specification of devices without a model becomes a model, unless it equals one.
- A specification without devices belongs to the model that it names, and becomes one if it names none.

What a specification has that its model has not is in `legacy_fields` of the model. SQLite runs these statements once,
before the migration, so a row has to be found by its number: `m_row`, `s_row` and so on are rowids of the file.
Other columns have no type, so that they take any value as it is. SQLite looks a value of a typed column up in an index
of such a column only where a plus sign takes its type away; in `min(+…)` it keeps SQLite from reading rows in their
order instead of using the index of brand and name.
"""

from collections.abc import Iterable, Mapping

from homerack.inventory.models.choices import Airflow, Width

PROPERTIES = (
    "height_u",
    "width_type",
    "depth_mm",
    "weight_kg",
    "mounting_type",
    "airflow_pattern",
    "power_watts",
    "heat_output_btu",
    "max_operating_temp_c",
    "typical_ports",
)
"""What models and specifications have in common."""
PLAIN = ("description", "release_date", "end_of_life", "datasheet_url")
"""The other columns of models."""
UPS = "ups"
"""The short name of the type whose power does not count as consumption, which no specification has."""
SPACES = "' ' || char(9, 10, 13)"


def named(value: str, choices: Iterable[Width] | Iterable[Airflow]) -> str:
    """SQL for `value`, with the value of a choice where the file has its name."""
    cases = " ".join(f"WHEN '{member.name}' THEN '{member.value}'" for member in choices)
    return f"CASE {value} {cases} ELSE {value} END"


def value_of(row: str, name: str) -> str:
    """SQL for a property of a model or a specification. JSON's null is no value."""
    column = f"{row}.{name}"
    if name == "width_type":
        return named(column, Width)
    if name == "airflow_pattern":
        return named(column, Airflow)
    if name == "typical_ports":
        return f"CASE WHEN typeof({column}) = 'text' AND trim({column}, {SPACES}) = 'null' THEN NULL ELSE {column} END"
    return column


def kept(column: str) -> str:
    """SQL for a value of the file as JSON."""
    cases = f"WHEN 'null' THEN NULL WHEN 'integer' THEN {column} WHEN 'real' THEN json(json_of('real', {column}))"
    return f"CASE typeof({column}) {cases} ELSE json(json_of(typeof({column}), CAST({column} AS BLOB))) END"


def document(values: Mapping[str, str]) -> str:
    """SQL for a JSON object without the values that are NULL; NULL for one without any."""
    pairs = ", ".join(f"'{name}', {value}" for name, value in values.items())
    return f"nullif(json_patch('{{}}', json_object({pairs})), '{{}}')"


def each(template: str, separator: str = ", ") -> str:
    """SQL with `template` for each property, whose name stands for ``{}``."""
    return separator.join(template.format(name) for name in PROPERTIES)


def equal(one: str, other: str) -> str:
    return each(f"{one}.{{0}} IS {other}.{{0}}", " AND ")


def same_names(one: str, other: str) -> str:
    """SQL: both have the same brand, name and variant."""
    variants = f"coalesce({one}.variant, '') = coalesce({other}.variant, '')"
    return f"{one}.name = {other}.name AND {one}.brand_id = {other}.brand_id AND {variants}"


def brand_key(name: str) -> str:
    """SQL for what is equal for two spellings of a brand: without capitals, and with single spaces."""
    single = f"replace(replace(replace(trim({name}, {SPACES}), ' ', ' ' || char(1)), char(1) || ' ', ''), char(1), '')"
    return f"CASE {single} WHEN '' THEN 'unknown' ELSE lower({single}) END"


def with_values(table: str, others: str) -> str:
    """A subquery with the rows of `table`, and the properties as HomeRack stores them."""
    values = ", ".join(f"{value_of('t', name)} AS {name}" for name in PROPERTIES)
    return f"(SELECT t.rowid AS row, {others}, {values} FROM {table} AS t)"


def largest(*values: str) -> str:
    """SQL for the largest whole number of columns, given as ``table.column``; 0 if there is none."""
    found = (value.split(".") for value in values)
    numbers = " UNION ALL ".join(
        f"SELECT max({column}) AS n FROM {table} WHERE typeof({column}) = 'integer'" for table, column in found
    )
    return f"(SELECT coalesce(max(n), 0) FROM ({numbers}))"


SPECS = with_values("device_specifications", "t.id, t.brand, t.model AS name, t.variant")
MODELS = with_values("models", "t.id, t.brand_id, t.device_type_id, t.name, t.variant")
IS_UPS = f"(SELECT id FROM device_types WHERE slug = '{UPS}')"
FINAL = (
    f"(SELECT m.row, m.id, m.brand_id, m.device_type_id, m.name, m.variant, {each('coalesce(m.{0}, f.{0}) AS {0}')}"
    f" FROM {MODELS} AS m LEFT JOIN catalogue_completed AS f ON f.m_row = m.row AND f.fills)"
)
"""The models with the values that they get of specifications."""

# --- Which model and specification devices have ---------------------------------------------------------------------
PAIRS = (
    "CREATE TABLE catalogue_model_rows (id, row INTEGER)",
    "INSERT INTO catalogue_model_rows SELECT id, min(rowid) FROM models WHERE id IS NOT NULL GROUP BY id",
    "CREATE INDEX catalogue_model_ids ON catalogue_model_rows (id)",
    "CREATE TABLE catalogue_spec_rows (id, row INTEGER)",
    "INSERT INTO catalogue_spec_rows SELECT id, min(rowid) FROM device_specifications WHERE id IS NOT NULL GROUP BY id",
    "CREATE INDEX catalogue_spec_ids ON catalogue_spec_rows (id)",
    "CREATE INDEX catalogue_spec_numbers ON catalogue_spec_rows (row)",
    # The target is the id of the model that the devices get; they keep an id that no model has, to be refused.
    """
    CREATE TABLE catalogue_pairs
    (m, s, m_row INTEGER, s_row INTEGER, adds, target, target_brand, target_name, s_brand, s_name, keeps_id)
    """,
    """
    INSERT INTO catalogue_pairs (m, s, m_row, s_row, adds) SELECT d.m, d.s, m.row, s.row, 0
    FROM (SELECT DISTINCT +model_id AS m, +specification_id AS s FROM devices) AS d
    LEFT JOIN catalogue_model_rows AS m ON m.id = d.m LEFT JOIN catalogue_spec_rows AS s ON s.id = d.s
    """,
    "CREATE INDEX catalogue_pairs_of ON catalogue_pairs (m, s)",
    "CREATE INDEX catalogue_pairs_of_rows ON catalogue_pairs (m_row, s_row)",
    "CREATE INDEX catalogue_pairs_of_specs ON catalogue_pairs (s_row)",
    f"""
    UPDATE catalogue_pairs SET adds = 1 WHERE m_row IS NOT NULL AND s_row IS NOT NULL AND EXISTS (
    SELECT 1 FROM {MODELS} AS m, {SPECS} AS s WHERE m.row = m_row AND s.row = s_row
    AND ({each("(m.{0} IS NULL AND s.{0} IS NOT NULL)", " OR ")}))
    """,
)

# --- Models with values of specifications: completed ones, which fill a model or become a variant of it -------------
COMPLETED = (
    # The leader is the first specification that adds the same to the same model.
    "CREATE TABLE catalogue_additions (m_row INTEGER, s_row INTEGER, leader INTEGER)",
    f"""
    INSERT INTO catalogue_additions SELECT p.m_row, p.s_row, min(p.s_row) OVER (PARTITION BY p.m_row,
    {each("coalesce(m.{0}, s.{0})")}) FROM catalogue_pairs AS p
    JOIN {MODELS} AS m ON m.row = p.m_row JOIN {SPECS} AS s ON s.row = p.s_row WHERE p.adds
    """,
    "CREATE INDEX catalogue_additions_of ON catalogue_additions (m_row, s_row)",
    f"CREATE TABLE catalogue_completed (m_row INTEGER, leader INTEGER, fills, {each('{0}')})",
    f"""
    INSERT INTO catalogue_completed SELECT a.m_row, a.leader, 0, {each("coalesce(m.{0}, s.{0})")}
    FROM (SELECT DISTINCT m_row, leader FROM catalogue_additions) AS a
    JOIN {MODELS} AS m ON m.row = a.m_row JOIN {SPECS} AS s ON s.row = a.leader ORDER BY a.m_row, a.leader
    """,
    "CREATE INDEX catalogue_completed_of ON catalogue_completed (m_row, leader)",
    """
    UPDATE catalogue_completed SET fills = 1 WHERE m_row IN
    (SELECT m_row FROM catalogue_completed GROUP BY m_row HAVING count(*) = 1)
    AND m_row NOT IN (SELECT m_row FROM catalogue_pairs WHERE m_row IS NOT NULL AND NOT adds)
    """,
)

# --- Specifications without a model: each has one that equals it, or becomes one ------------------------------------
ALONE = (
    "CREATE TABLE catalogue_alone (s_row INTEGER PRIMARY KEY, used, m_row INTEGER)",
    """
    INSERT INTO catalogue_alone SELECT DISTINCT s_row, 1, NULL FROM catalogue_pairs
    WHERE m IS NULL AND s_row IS NOT NULL
    """,
    """
    INSERT INTO catalogue_alone SELECT row, 0, NULL FROM catalogue_spec_rows AS s WHERE NOT EXISTS
    (SELECT 1 FROM catalogue_pairs AS p WHERE p.s_row = s.row AND (p.m IS NULL OR p.m_row IS NOT NULL))
    """,
    # The model that it names: without devices, whatever its values are; else if they are the same.
    """
    UPDATE catalogue_alone SET m_row = (SELECT m.row FROM device_specifications AS s
    JOIN catalogue_model_rows AS m ON m.id = +s.migrated_to_model_id WHERE s.rowid = s_row)
    """,
    f"""
    UPDATE catalogue_alone SET m_row = NULL WHERE used AND m_row IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM {SPECS} AS s, {FINAL} AS m WHERE s.row = s_row AND m.row = m_row AND {equal("m", "s")}
    AND m.device_type_id NOT IN {IS_UPS})
    """,
)

# --- Their brands ---------------------------------------------------------------------------------------------------
BRAND_COLUMNS = ("name", "slug", "website", "support_url", "description", "created_at", "updated_at", "logo_url")
BRAND_FIELDS = (
    "logo_url",
    "founded_year",
    "headquarters",
    "last_fetched_at",
    "fetch_confidence",
    "fetch_source",
)
SLUG = "replace(replace(replace(key, ' ', '-'), '&', 'and'), '.', '')"
BRANDS = (
    "CREATE TABLE catalogue_makers (brand, key, id, s_row)",
    f"""
    INSERT INTO catalogue_makers SELECT s.brand, {brand_key("s.brand")}, NULL, min(s.rowid)
    FROM catalogue_alone AS a JOIN device_specifications AS s ON s.rowid = a.s_row WHERE a.m_row IS NULL
    GROUP BY s.brand
    """,
    "CREATE TABLE catalogue_known_brands (id, name, key, slug)",
    f"INSERT INTO catalogue_known_brands SELECT id, name, {brand_key('name')}, lower(slug) FROM brands",
    "CREATE INDEX catalogue_known_keys ON catalogue_known_brands (key)",
    "CREATE INDEX catalogue_known_slugs ON catalogue_known_brands (slug)",
    # By name, else by short name: "Cisco" is Cisco Systems where that has the short name cisco.
    f"""
    UPDATE catalogue_makers AS m SET id = coalesce(
    (SELECT min(b.id) FROM catalogue_known_brands AS b WHERE b.key = m.key AND b.name = m.brand),
    (SELECT min(b.id) FROM catalogue_known_brands AS b WHERE b.key = m.key),
    (SELECT min(b.id) FROM catalogue_known_brands AS b WHERE b.slug = {SLUG.replace("key", "m.key")}))
    """,
    f"CREATE TABLE catalogue_brands (id, {', '.join(BRAND_COLUMNS)}, legacy_fields, b_row, s_row)",
    f"""
    INSERT INTO catalogue_brands SELECT id, {", ".join(BRAND_COLUMNS)},
    {document({name: kept(name) for name in BRAND_FIELDS})}, rowid, NULL FROM brands
    """,
    "CREATE TABLE catalogue_new_brands (id, name, slug, key, s_row)",
    f"""
    INSERT INTO catalogue_new_brands (id, name, key, s_row) SELECT {largest("brands.id", "models.brand_id")}
    + row_number() OVER (ORDER BY s_row), CASE WHEN typeof(brand) <> 'text' THEN brand
    WHEN trim(brand, {SPACES}) = '' THEN 'Unknown' ELSE trim(brand, {SPACES}) END, key, s_row
    FROM (SELECT brand, key, min(s_row) AS s_row FROM catalogue_makers WHERE id IS NULL AND brand IS NOT NULL
    GROUP BY key)
    """,
    "CREATE INDEX catalogue_new_keys ON catalogue_new_brands (key)",
    f"UPDATE catalogue_new_brands SET slug = CASE WHEN {SLUG} GLOB '*[^a-z0-9_-]*' THEN 'brand-' || id ELSE {SLUG} END",
    "CREATE INDEX catalogue_new_slugs ON catalogue_new_brands (slug)",
    """
    UPDATE catalogue_new_brands AS n SET slug = 'brand-' || id WHERE
    EXISTS (SELECT 1 FROM catalogue_new_brands AS o WHERE o.slug = n.slug AND o.id < n.id)
    """,
    """
    INSERT INTO catalogue_brands (id, name, slug, s_row) SELECT id, name, slug, s_row FROM catalogue_new_brands
    ORDER BY id
    """,
    "CREATE INDEX catalogue_brands_ids ON catalogue_brands (id)",
    """
    UPDATE catalogue_makers AS m SET id = (SELECT n.id FROM catalogue_new_brands AS n WHERE n.key = m.key)
    WHERE id IS NULL AND brand IS NOT NULL
    """,
    "CREATE INDEX catalogue_makers_of ON catalogue_makers (brand)",
)

# --- Specifications that become models: one for all with the same brand, name, variant and values -------------------
OWN = (
    "CREATE TABLE catalogue_own (s_row INTEGER PRIMARY KEY, leader INTEGER, brand_id, m_row INTEGER)",
    f"""
    INSERT INTO catalogue_own SELECT s.row, min(s.row) OVER (PARTITION BY b.id, s.name, s.variant,
    {each("s.{0}")}), b.id, NULL FROM catalogue_alone AS a JOIN {SPECS} AS s ON s.row = a.s_row
    JOIN catalogue_makers AS b ON b.brand IS +s.brand WHERE a.m_row IS NULL
    """,
    f"""
    UPDATE catalogue_own AS o SET m_row = (SELECT min(+m.row) FROM device_specifications AS t
    JOIN {FINAL} AS m ON m.name = t.model JOIN {SPECS} AS s ON s.row = t.rowid WHERE t.rowid = o.leader
    AND m.brand_id = o.brand_id AND coalesce(m.variant, '') = coalesce(s.variant, '') AND {equal("m", "s")}
    AND m.device_type_id NOT IN {IS_UPS})
    """,
)

# --- Device types: one more, if there is none for these models ------------------------------------------------------
TYPE_COLUMNS = ("name", "slug", "description", "color", "created_at", "updated_at")
OTHER = "(SELECT id FROM catalogue_types ORDER BY slug IS NOT 'other', lower(name) IS NOT 'other', id LIMIT 1)"
TYPES = (
    f"CREATE TABLE catalogue_types (id, {', '.join(TYPE_COLUMNS)}, legacy_fields, t_row)",
    f"""
    INSERT INTO catalogue_types SELECT id, {", ".join(TYPE_COLUMNS)}, {document({"icon": kept("icon")})}, rowid
    FROM device_types
    """,
    f"""
    INSERT INTO catalogue_types (id, name, slug, description)
    SELECT {largest("device_types.id", "models.device_type_id")} + 1,
    CASE WHEN EXISTS (SELECT 1 FROM device_types WHERE name = 'Other') THEN 'Other devices' ELSE 'Other' END,
    'other', 'Everything else' WHERE EXISTS (SELECT 1 FROM catalogue_own WHERE m_row IS NULL)
    AND NOT EXISTS (SELECT 1 FROM device_types WHERE slug = 'other' OR
    (lower(name) = 'other' AND slug IS NOT '{UPS}'))
    """,
    "CREATE INDEX catalogue_types_ids ON catalogue_types (id)",
)

# --- The models -----------------------------------------------------------------------------------------------------
COLUMNS = ("id", "brand_id", "device_type_id", "name", "variant", *PLAIN, "image_url", *PROPERTIES, "last_updated")
NEXT_ID = largest("models.id", "devices.model_id", "device_specifications.migrated_to_model_id")
ADDED = each("CASE WHEN m.{0} IS NULL AND f.{0} IS NOT NULL THEN '{0} ' ELSE '' END", " || ")


def model_columns(**values: str) -> str:
    """SQL for the columns of a model, of `values` and otherwise NULL."""
    return ", ".join(values.get(name, "NULL") for name in COLUMNS)


WITH_RAW = "models AS t ON t.rowid = m.row"


def labelled(variant: str, number: str) -> str:
    """SQL for the name of a variant that comes from a specification."""
    return f"trim(coalesce({variant}, '') || ' (specification ' || {number} || ')')"


AS_IN_FILE = {name: f"t.{name}" for name in COLUMNS}
COMPLETED_IN_PLACE = model_columns(
    **{**AS_IN_FILE, **{name: f"coalesce(m.{name}, f.{name}, t.{name})" for name in PROPERTIES}}
)
VARIANTS = model_columns(
    **{
        **AS_IN_FILE,
        **{name: f"f.{name}" for name in PROPERTIES},
        "id": f"{NEXT_ID} + row_number() OVER (ORDER BY f.rowid)",
        "variant": labelled("t.variant", "s.id"),
    }
)
OF_SPECIFICATION = {name: f"s.{name}" for name in ("name", "variant", *PROPERTIES)}
NEW_MODELS = model_columns(
    **OF_SPECIFICATION,
    id=f"{NEXT_ID} + (SELECT count(*) FROM catalogue_completed WHERE NOT fills) + row_number() OVER (ORDER BY s.row)",
    brand_id="o.brand_id",
    last_updated="t.last_updated",
)
MODEL_ROWS = (
    # `leader` and `m_row` name the completed model or the specification; `added` lists the values of `s_row`.
    f"""
    CREATE TABLE catalogue_models ({", ".join(COLUMNS)}, legacy_fields, m_row INTEGER, s_row INTEGER, added,
    completed INTEGER, leader INTEGER)
    """,
    f"""
    INSERT INTO catalogue_models SELECT {COMPLETED_IN_PLACE},
    NULL, m.row, f.leader, nullif({ADDED}, ''), NULL, NULL
    FROM {MODELS} AS m JOIN {WITH_RAW} LEFT JOIN catalogue_completed AS f ON f.m_row = m.row AND f.fills
    ORDER BY m.row
    """,
    f"""
    INSERT INTO catalogue_models SELECT {VARIANTS},
    NULL, m.row, f.leader, {ADDED}, f.leader, NULL
    FROM catalogue_completed AS f JOIN {MODELS} AS m ON m.row = f.m_row JOIN {WITH_RAW}
    JOIN device_specifications AS s ON s.rowid = f.leader WHERE NOT f.fills ORDER BY f.rowid
    """,
    f"""
    INSERT INTO catalogue_models SELECT {NEW_MODELS},
    NULL, NULL, s.row, NULL, NULL, s.row FROM catalogue_own AS o JOIN {SPECS} AS s ON s.row = o.s_row
    JOIN device_specifications AS t ON t.rowid = o.s_row WHERE o.s_row = o.leader AND o.m_row IS NULL
    ORDER BY s.row
    """,
    "CREATE INDEX catalogue_models_ids ON catalogue_models (id)",
    "CREATE INDEX catalogue_models_leaders ON catalogue_models (leader) WHERE leader IS NOT NULL",
    "CREATE INDEX catalogue_models_rows ON catalogue_models (m_row, completed)",
    # The type of a model with the same name, or the type for all else.
    f"""
    UPDATE catalogue_models AS c SET device_type_id = coalesce((SELECT device_type_id FROM models WHERE rowid =
    (SELECT min(+m.rowid) FROM models AS m
    WHERE m.name = c.name AND m.brand_id = c.brand_id AND m.device_type_id NOT IN {IS_UPS})),
    {OTHER}) WHERE leader IS NOT NULL
    """,
    # A variant that is taken is named after the specification.
    f"""
    UPDATE catalogue_models AS c SET variant =
    {labelled("variant", "(SELECT id FROM device_specifications WHERE rowid = c.leader)")}
    WHERE leader IS NOT NULL AND (EXISTS (SELECT 1 FROM models AS m WHERE {same_names("m", "c")})
    OR leader IN (SELECT leader FROM (SELECT leader, row_number() OVER
    (PARTITION BY brand_id, name, coalesce(variant, '') ORDER BY leader) AS n
    FROM catalogue_models WHERE leader IS NOT NULL) WHERE n > 1))
    """,
    f"""
    UPDATE catalogue_models AS c SET variant = c.variant || ' ' || (d.n + d.taken)
    FROM (SELECT n.rowid AS row,
    row_number() OVER (PARTITION BY brand_id, name, coalesce(variant, '') ORDER BY n.rowid) AS n,
    EXISTS (SELECT 1 FROM models AS m WHERE {same_names("m", "n")}) AS taken
    FROM catalogue_models AS n WHERE leader IS NOT NULL OR completed IS NOT NULL) AS d
    WHERE d.row = c.rowid AND d.n + d.taken > 1
    """,
    # Only a file without primary keys has these: they have no id, so that they are refused.
    f"""
    INSERT INTO catalogue_models SELECT {model_columns(**OF_SPECIFICATION)},
    NULL, NULL, s.row, NULL, NULL, s.row FROM {SPECS} AS s
    WHERE NOT EXISTS (SELECT 1 FROM catalogue_spec_rows AS r WHERE r.row = s.row)
    """,
    # What HomeRack 1.0.1 did not know of models.
    "ALTER TABLE catalogue_models ADD COLUMN part_number",
)

# --- Where each specification is kept, and which model each device gets ---------------------------------------------
HOMES = (
    "CREATE TABLE catalogue_homes (s_row INTEGER PRIMARY KEY, model INTEGER)",
    """
    INSERT INTO catalogue_homes SELECT a.s_row, c.rowid FROM catalogue_alone AS a JOIN catalogue_models AS c
    ON c.m_row = a.m_row AND c.completed IS NULL WHERE a.m_row IS NOT NULL
    """,
    """
    INSERT INTO catalogue_homes SELECT o.s_row, c.rowid FROM catalogue_own AS o JOIN catalogue_models AS c
    ON c.m_row = o.m_row AND c.completed IS NULL WHERE o.m_row IS NOT NULL
    """,
    """
    INSERT INTO catalogue_homes SELECT o.s_row, c.rowid FROM catalogue_own AS o JOIN catalogue_models AS c
    ON c.leader = o.leader WHERE o.m_row IS NULL
    """,
    """
    INSERT OR IGNORE INTO catalogue_homes SELECT c.leader, c.rowid FROM catalogue_models AS c
    WHERE c.leader IS NOT NULL
    """,
    """
    UPDATE catalogue_pairs AS p SET target = c.rowid FROM catalogue_models AS c WHERE p.m_row IS NOT NULL
    AND c.m_row = p.m_row AND c.completed IS (SELECT f.leader FROM catalogue_additions AS a
    JOIN catalogue_completed AS f ON f.m_row = a.m_row AND f.leader = a.leader AND NOT f.fills
    WHERE a.m_row = p.m_row AND a.s_row = p.s_row)
    """,
    """
    INSERT OR IGNORE INTO catalogue_homes SELECT s_row, target FROM catalogue_pairs
    WHERE m_row IS NOT NULL AND s_row IS NOT NULL ORDER BY m_row
    """,
    "CREATE INDEX catalogue_homes_of ON catalogue_homes (model)",
    """
    UPDATE catalogue_pairs AS p SET target = (SELECT model FROM catalogue_homes AS h WHERE h.s_row = p.s_row)
    WHERE m IS NULL AND s_row IS NOT NULL
    """,
    # The id of the specification follows from the model of the device where that has one specification.
    """
    UPDATE catalogue_pairs AS p SET keeps_id = (SELECT count(*) = 1 AND min(h.s_row) IS p.s_row
    FROM catalogue_homes AS h WHERE h.model = p.target) IS NOT 1
    """,
    """
    UPDATE catalogue_pairs AS p SET target = c.id, target_name = c.name, target_brand =
    (SELECT b.name FROM catalogue_brands AS b WHERE b.id = c.brand_id) FROM catalogue_models AS c
    WHERE c.rowid = p.target
    """,
    """
    UPDATE catalogue_pairs AS p SET s_brand = s.brand, s_name = s.model FROM device_specifications AS s
    WHERE s.rowid = p.s_row
    """,
    "UPDATE catalogue_pairs SET target = m WHERE m IS NOT NULL AND m_row IS NULL",
)

# --- What the catalogue has no field for ----------------------------------------------------------------------------
MODEL_FIELDS = ("image_url", "source", "confidence", "fetched_at")
SPEC_FIELDS = ("source", "source_url", "confidence", "fetched_at", "migration_status", "deprecated")
DIFFERING = {
    "brand": ("t.brand", "b.name"),
    "model": ("t.model", "c.name"),
    "variant": ("t.variant", "c.variant"),
    **{name: (value_of("t", name), f"c.{name}") for name in PROPERTIES},
    "last_updated": ("t.last_updated", "c.last_updated"),
    "migrated_to_model_id": ("t.migrated_to_model_id", "c.id"),
}
OF_SPEC = {
    "id": kept("t.id"),
    **{
        name: f"CASE WHEN {ours} IS NOT {theirs} THEN {kept(f't.{name}')} END"
        for name, (ours, theirs) in DIFFERING.items()
    },
    **{name: kept(f"t.{name}") for name in SPEC_FIELDS},
}
OF_MODEL = {
    **{name: f"CASE WHEN c.completed IS NULL THEN {kept(f't.{name}')} END" for name in MODEL_FIELDS},
    "specifications": "json(k.specifications)",
}
KEPT = (
    "CREATE TABLE catalogue_kept (model INTEGER PRIMARY KEY, specifications)",
    f"""
    INSERT INTO catalogue_kept SELECT model, json_group_array(json(kept))
    FROM (SELECT h.model, {document(OF_SPEC)} AS kept
    FROM catalogue_homes AS h JOIN device_specifications AS t ON t.rowid = h.s_row
    JOIN catalogue_models AS c ON c.rowid = h.model LEFT JOIN catalogue_brands AS b ON b.rowid =
    (SELECT min(rowid) FROM catalogue_brands WHERE id = c.brand_id) ORDER BY h.model, h.s_row) GROUP BY model
    """,
    f"""
    UPDATE catalogue_models AS c SET legacy_fields = (SELECT {document(OF_MODEL)} FROM (SELECT 1)
    LEFT JOIN models AS t ON t.rowid = c.m_row LEFT JOIN catalogue_kept AS k ON k.model = c.rowid)
    """,
)

STATEMENTS = (*PAIRS, *COMPLETED, *ALONE, *BRANDS, *OWN, *TYPES, *MODEL_ROWS, *HOMES, *KEPT)

# --- Where a cell comes from ----------------------------------------------------------------------------------------


def column_of_specification(name: str) -> str:
    """SQL for the column of specifications from which ours comes, of which `name` has the name."""
    names = {"name": name, "slug": name, "brand_id": "brand"}
    cases = " ".join(f"WHEN '{ours}' THEN '{theirs}'" for ours, theirs in names.items())
    return f"CASE :column {cases} ELSE :column END"


BRAND_ORIGIN = (
    "SELECT 'brands', b.id, :column FROM catalogue_brands AS c JOIN brands AS b ON b.rowid = c.b_row"
    f" WHERE c.rowid = :row UNION ALL SELECT 'device_specifications', s.id, {column_of_specification('brand')}"
    " FROM catalogue_brands AS c JOIN device_specifications AS s ON s.rowid = c.s_row WHERE c.rowid = :row"
)
MODEL_ORIGIN = (
    f"SELECT 'device_specifications', s.id, {column_of_specification('model')} FROM catalogue_models AS c"
    " JOIN device_specifications AS s ON s.rowid = c.s_row WHERE c.rowid = :row"
    " AND (c.m_row IS NULL OR instr(' ' || c.added, ' ' || :column || ' '))"
    " UNION ALL SELECT 'models', m.id, :column FROM catalogue_models AS c JOIN models AS m ON m.rowid = c.m_row"
    " WHERE c.rowid = :row"
)
TYPE_ORIGIN = "SELECT 'device_types', id, :column FROM catalogue_types WHERE rowid = :row"


# --- Columns of devices ---------------------------------------------------------------------------------------------
def of_pair(value: str) -> str:
    """SQL for a value of the pair of model and specification that a device has."""
    pair = 'p.m IS +"devices"."model_id" AND p.s IS +"devices"."specification_id"'
    return f"(SELECT {value} FROM catalogue_pairs AS p WHERE {pair})"


DEVICE_MODEL = of_pair("p.target")


def differing(name: str, *known: str) -> str:
    """SQL for a value of a device as JSON, unless it is one of the `known`."""
    column = f'"devices"."{name}"'
    return f"CASE WHEN {' AND '.join(f'{column} IS NOT {other}' for other in known)} THEN {kept(column)} END"


DEVICE_FIELDS = of_pair(
    document(
        {
            "specification_id": f"CASE WHEN p.keeps_id THEN {kept('p.s')} END",
            "brand": differing("brand", "p.target_brand", "p.s_brand"),
            "model": differing("model", "p.target_name", "p.s_name"),
        }
    )
)
"""The names of brand and model are copies; those that are not are kept."""
