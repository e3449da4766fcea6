"""What random Django projects do beside plain columns: constraints, indexes, inheritance, migrations with SQL."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.support.generated_fields import Kind, Values

ONLY = """
def only(vendor, *statements):
    def forward(apps, editor):
        if editor.connection.vendor == vendor:
            for statement in statements:
                editor.execute(statement, None)
    return migrations.RunPython(forward, migrations.RunPython.noop)
"""


def quoted(name: str, mark: str = '"') -> str:
    return mark + name.replace(mark, 2 * mark) + mark


@dataclass(kw_only=True)
class GeneratedModel:
    """A model: its lines, and for each attribute how to make a value."""

    name: str
    base: str = "models.Model"
    rows: bool = True
    table: str = ""
    table_of_django: str = ""
    composite: bool = False
    fields: list[str] = field(default_factory=list)
    methods: list[str] = field(default_factory=list)
    constraints: list[str] = field(default_factory=list)
    indexes: list[str] = field(default_factory=list)
    meta: list[str] = field(default_factory=list)
    values: dict[str, Values] = field(default_factory=dict)
    kinds: dict[str, Kind] = field(default_factory=dict)
    columns: dict[str, str] = field(default_factory=dict)
    many: list[str] = field(default_factory=list)

    def add(self, name: str, column: str, declaration: str, kind: Kind | None, *, null: bool = False) -> None:
        self.fields.append(f"{name} = {declaration}")
        if kind:
            values = kind.values
            self.values[name] = lambda rng: "None" if null and rng.random() < 0.3 else values(rng)
            self.kinds[name] = kind
            self.columns[name] = column

    def one_made(self, rng: random.Random) -> str:
        """One of the rows, in the code that fills the file."""
        return f"(made[{self.name!r}] or [None])[{rng.choice([0, -1])}]"

    def attributes(self, *words: str) -> list[str]:
        """Those whose declaration begins with one of the words; all without any."""
        return [name for name, kind in self.kinds.items() if not words or kind.declaration.startswith(words)]

    @property
    def sql(self) -> str:
        return quoted(self.table or self.table_of_django)

    def text(self) -> str:
        meta = [*self.meta, *([f"db_table = {self.table!r}"] if self.table else [])]
        meta += [f"constraints = [{', '.join(self.constraints)}]"] if self.constraints else []
        meta += [f"indexes = [{', '.join(self.indexes)}]"] if self.indexes else []
        lines = [f"class {self.name}({self.base}):", *(f"    {line}" for line in [*self.fields, *self.methods])]
        if meta:
            lines += ["    class Meta:", *(f"        {line}" for line in meta)]
        return "\n".join([*lines, *([] if len(lines) > 1 else ["    pass"])])


@dataclass(kw_only=True)
class Draft:
    """A project while it is made."""

    rng: random.Random
    role: str | None
    """As `Project.role`."""
    models: list[GeneratedModel] = field(default_factory=list)
    operations: list[str] = field(default_factory=list)
    raw: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)
    not_compared: list[str] = field(default_factory=list)

    def model(self) -> GeneratedModel:
        """Any but the last one."""
        return self.rng.choice(self.models[: max(1, len(self.models) - 1)])

    def attribute(self, *words: str) -> tuple[GeneratedModel, str] | None:
        """A model, and one of its attributes of such a kind."""
        found = [(model, name) for model in self.models for name in model.attributes(*words)]
        return self.rng.choice(found) if found else None

    def new_model(self, **values: object) -> GeneratedModel:
        name = f"N{len(self.models)}"
        model = GeneratedModel(name=name, table_of_django=f"shop_{name.lower()}", **values)  # type: ignore[arg-type]
        self.models.append(model)
        return model

    def sql(self, *statements: str, vendor: str = "postgresql") -> None:
        """A migration in one kind of database. Not with names that Django shortens in PostgreSQL."""
        if any("modelmodel" in text for text in statements):
            return
        self.operations.append(f"only({vendor!r}, {', '.join(map(repr, statements))})")

    def name(self, prefix: str) -> str:
        return f"{prefix}_{len(self.operations)}_{sum(len(m.constraints) + len(m.indexes) for m in self.models)}"


Feature = Callable[[Draft], None]
TEXT = ("models.CharField", "models.TextField", "models.SlugField", "models.EmailField", "models.URLField")
WHOLE = ("models.IntegerField", "models.SmallIntegerField", "models.PositiveInteger", "models.PositiveSmall")


# --- Models ---------------------------------------------------------------------------------------------------------
def inherited(draft: Draft) -> None:
    parent = draft.model()
    if not parent.composite:
        child = draft.new_model(base=parent.name, values=dict(parent.values))
        child.fields.append("own = models.TextField(default='x')")


def proxied(draft: Draft) -> None:
    draft.new_model(base=draft.model().name, rows=False, meta=["proxy = True"])


def hidden(draft: Draft) -> None:
    """A manager that hides rows."""
    model = draft.model()
    model.methods += [
        "class Some(models.Manager):",
        "    def get_queryset(self): return super().get_queryset().none()",
        "objects = models.Manager()",
        "some = Some()",
    ]
    model.meta.append("default_manager_name = 'some'")


def self_reference(draft: Draft) -> None:
    model = draft.new_model()
    model.fields.append("up = models.ForeignKey('self', models.CASCADE, null=True)")
    model.fields.append("friends = models.ManyToManyField('self')")
    model.values["up"] = model.one_made
    model.many.append("friends")


def circle(draft: Draft) -> None:
    """Two tables that refer to each other."""
    model = draft.new_model()
    other = draft.new_model(values={"back": model.one_made})
    model.fields.append(f"there = models.ForeignKey('{other.name}', models.SET_NULL, null=True, related_name='+')")
    other.fields.append(f"back = models.ForeignKey({model.name}, models.CASCADE, null=True, related_name='+')")


def many(draft: Draft) -> None:
    target, name = draft.model(), draft.rng.choice(["many", "m" * 70])
    if not target.composite:
        model = draft.new_model(many=[name])
        model.fields.append(f"{name} = models.ManyToManyField({target.name}, related_name='+')")


def through(draft: Draft) -> None:
    left, right = draft.model(), draft.model()
    if not left.composite and not right.composite:
        model = draft.new_model(values={"left": left.one_made, "right": right.one_made})
        for side, target in (("left", left), ("right", right)):
            model.fields.append(
                f"{side} = models.ForeignKey({target.name}, models.CASCADE, null=True, related_name='+')"
            )
        model.meta.append("unique_together = [('left', 'right')]")


def refers_to_unique(draft: Draft) -> None:
    """A foreign key to another column than the primary key, which compares in its own way."""
    declaration = draft.rng.choice(
        ["models.CharField(max_length=9, ", "models.DecimalField(max_digits=5, decimal_places=2, "]
    )
    target = draft.new_model(fields=[f"code = {declaration}unique=True)"])
    target.values["code"] = lambda rng: repr(rng.choice(["1.50", "2", "-0.01", "3"]))
    model = draft.new_model(values={"at": target.one_made})
    model.fields.append(f"at = models.ForeignKey({target.name}, models.CASCADE, to_field='code', null=True)")


def unconstrained(draft: Draft) -> None:
    model = draft.new_model(values={"gone_id": lambda rng: repr(rng.choice([None, 5, 10**6]))})
    model.fields.append("gone = models.ForeignKey('self', models.DO_NOTHING, null=True, db_constraint=False)")


def ordered(draft: Draft) -> None:
    parent = draft.model()
    if not parent.composite:
        model = draft.new_model(values={"owner": parent.one_made})
        model.fields.append(f"owner = models.ForeignKey({parent.name}, models.CASCADE, null=True, related_name='+')")
        model.meta.append("order_with_respect_to = 'owner'")


def small_key(draft: Draft) -> None:
    model = draft.new_model(values={"note": lambda rng: repr("x" * rng.choice([0, 1, 6000]))})
    model.fields += [
        "number = models.SmallAutoField(primary_key=True)",
        'note = models.TextField(db_comment="it\'s 5")',
    ]
    model.meta.append("db_table_comment = 'A \"table\"'")


def default_in_database(draft: Draft) -> None:
    model = draft.new_model()
    model.fields += [
        "size = models.IntegerField(db_default=5)",
        "at = models.DateTimeField(db_default=functions.Now())",
        'word = models.CharField(max_length=9, db_default="it\'s")',
    ]


def composite(draft: Draft) -> None:
    model = draft.new_model(composite=True)
    model.fields += ["pk = models.CompositePrimaryKey('a', 'b')", "a = models.IntegerField()"]
    model.fields += ["b = models.CharField(max_length=5)", "c = models.TextField()"]
    model.values |= {
        "a": lambda rng: str(rng.randrange(3)),
        "b": lambda rng: repr(rng.choice("aAä")),
        "c": lambda _: "''",
    }


def computed(draft: Draft) -> None:
    """Columns that each database computes."""
    model = draft.new_model()
    model.fields += ["n = models.IntegerField()", "t = models.CharField(max_length=20, null=True)"]
    model.values |= {"n": lambda rng: str(rng.randint(-9, 9)), "t": lambda rng: repr(rng.choice(["Ab", "c", "", None]))}
    declared = draft.rng.sample(
        [
            "expression=F('n') * 2 + 1, output_field=models.BigIntegerField()",
            "expression=functions.Lower('t'), output_field=models.CharField(max_length=20, null=True)",
            "expression=functions.Coalesce('t', models.Value('-')), output_field=models.TextField()",
            "expression=functions.Length('t'), output_field=models.IntegerField(null=True)",
            "expression=functions.Concat('t', models.Value('!')), output_field=models.TextField(null=True)",
            "expression=Q(n__gt=0), output_field=models.BooleanField()",
            "expression=models.Case(models.When(n__gt=0, then='n'), default=0), output_field=models.IntegerField()",
            "expression=functions.Abs('n'), output_field=models.IntegerField()",
        ],
        k=3,
    )
    model.fields += [f"g{n} = models.GeneratedField({text}, db_persist=True)" for n, text in enumerate(declared)]


# --- Constraints and indexes ----------------------------------------------------------------------------------------
def checked(draft: Draft) -> None:
    if found := draft.attribute(*WHOLE):
        model, name = found
        condition = draft.rng.choice([f"~Q({name}=7)", f"Q({name}__lt=1) | ~Q({name}=1)"])
        model.constraints.append(f"models.CheckConstraint(condition={condition}, name={draft.name('check')!r})")


def unique(options: str, *words: str, expression: str = "") -> Feature:
    def add(draft: Draft) -> None:
        if found := draft.attribute(*words):
            model, name = found
            what = expression.format(name) if expression else f"fields=[{name!r}]"
            extra = options.format(name)
            model.constraints.append(f"models.UniqueConstraint({what}, {extra}name={draft.name('unique')!r})")

    return add


def indexed(what: str, *words: str) -> Feature:
    def add(draft: Draft) -> None:
        if found := draft.attribute(*words):
            model, name = found
            model.indexes.append(f"{what.format(name)}, name={draft.name('index')!r})")

    return add


# --- Migrations with SQL --------------------------------------------------------------------------------------------
def statement(*texts: str, words: tuple[str, ...] = ()) -> Feature:
    """A migration with ``{table}``, ``{column}`` and ``{name}``."""

    def add(draft: Draft) -> None:
        if found := draft.attribute(*words):
            model, name = found
            values = {"table": model.sql, "column": quoted(model.columns[name]), "name": draft.name("x")}
            draft.sql(*(text.format(**values) for text in texts))

    return add


def view(draft: Draft) -> None:
    table = draft.model().sql
    for vendor in ("postgresql", "sqlite"):
        draft.sql(f"CREATE VIEW everything AS SELECT * FROM {table}", vendor=vendor)


def trigger_in_file(draft: Draft) -> None:
    draft.sql(
        f"CREATE TRIGGER noted AFTER INSERT ON {draft.model().sql} BEGIN SELECT 1; END",
        vendor="sqlite",
    )


def seeded(draft: Draft) -> None:
    """Rows that a migration makes."""
    model = draft.new_model(values={"word": lambda _: "'own'"})
    model.fields.append("word = models.CharField(max_length=9)")
    for vendor in ("postgresql", "sqlite"):
        draft.sql(f"INSERT INTO {model.sql} (word) VALUES ('seed'), ('seed')", vendor=vendor)


def another_schema(draft: Draft) -> None:
    """A role without CREATEDB restores by swapping its one schema."""
    if draft.role != "NOCREATEDB":
        draft.sql("CREATE SCHEMA other", "CREATE TABLE other.log AS SELECT 'kept' AS line")


FEATURES: list[Feature] = [
    *(inherited, proxied, hidden, self_reference, circle, many, through, refers_to_unique, unconstrained, ordered),
    *(small_key, default_in_database, composite, computed, checked, view, trigger_in_file, seeded, another_schema),
    unique("condition=~Q({0}='0'), ", *TEXT, *WHOLE),
    unique("", *TEXT, expression="functions.Lower({0!r})"),
    unique("deferrable=models.Deferrable.DEFERRED, ", "models.IntegerField", "models.UUIDField"),
    unique("nulls_distinct=False, ", "models.DateField", "models.UUIDField", "models.IntegerField"),
    unique("", "models.DateField", "models.DateTimeField", "models.TimeField"),
    indexed("models.Index(functions.Upper({0!r})", *TEXT),
    indexed("models.Index(fields=[{0!r}], condition=~Q({0}='0')", *TEXT, *WHOLE),
    indexed("models.Index(fields=['-{0}'], include=[{0!r}]", *WHOLE, "models.DateField"),
    indexed("models.Index(fields=[{0!r}], opclasses=['varchar_pattern_ops']", "models.CharField", "models.SlugField"),
    indexed("pgi.GinIndex(fields=[{0!r}]", "models.JSONField", "Array(models.IntegerField", "Vector("),
    indexed("pgi.BrinIndex(fields=[{0!r}]", *WHOLE, "models.DateField"),
    indexed("pgi.HashIndex(fields=[{0!r}]", *TEXT, *WHOLE),
    indexed("pgi.GistIndex(fields=[{0!r}]", "Integers(", "Days(", "Moments("),
    indexed("pgi.BTreeIndex(fields=[{0!r}]", *WHOLE, *TEXT),
    indexed("pgi.SpGistIndex(fields=[{0!r}]", "models.CharField", "models.TextField", "Days(", "Integers("),
    statement(
        "CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.{column} := 'x'; RETURN NEW; END$$",
        "CREATE TRIGGER {name} BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION {name}()",
        words=TEXT,
    ),
    statement(
        "CREATE TABLE {name} (line text, at timestamptz DEFAULT now())",
        "CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS"
        " $f$BEGIN INSERT INTO {name} VALUES (TG_OP); RETURN NULL; END$f$",
        "CREATE CONSTRAINT TRIGGER {name} AFTER INSERT ON {table} INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION {name}()",
    ),
    statement(
        "CREATE MATERIALIZED VIEW {name} AS SELECT count(*) AS n FROM {table}",
        "CREATE MATERIALIZED VIEW {name}_up AS SELECT n + 1 AS n FROM {name}",
        "CREATE UNIQUE INDEX {name}_n ON {name} (n)",
    ),
    statement(
        'CREATE FUNCTION {name}(begin date, "end" date) RETURNS integer LANGUAGE sql SECURITY DEFINER'
        " BEGIN ATOMIC SELECT count(*)::integer FROM {table}; END",
        "REVOKE EXECUTE ON FUNCTION {name} FROM PUBLIC",
    ),
    statement("CREATE PROCEDURE {name}(a integer) LANGUAGE plpgsql AS 'BEGIN COMMIT; END'"),
    statement(
        "CREATE TYPE {name} AS ENUM ('sad', 'it''s ok')",
        "CREATE DOMAIN {name}_short AS text DEFAULT 'x' CHECK (length(VALUE) < 5)",
        "CREATE TYPE {name}_pair AS (a {name}, b {name}_short)",
        "ALTER TABLE {table} ADD COLUMN mood {name} DEFAULT 'sad' NOT NULL",
    ),
    statement("ALTER TABLE {table} ADD COLUMN numbered bigint GENERATED ALWAYS AS IDENTITY (START 10 INCREMENT 5)"),
    statement("ALTER TABLE {table} ENABLE ROW LEVEL SECURITY", "CREATE POLICY {name} ON {table} USING (true)"),
    statement("CREATE STATISTICS {name} ON (1), ({column} IS NULL) FROM {table}"),
    statement("CREATE SEQUENCE {name} START 7 CYCLE MAXVALUE 9", "SELECT nextval('{name}')"),
    statement("SELECT lo_from_bytea(0, 'large')"),
    statement("CREATE RULE {name} AS ON DELETE TO {table} WHERE false DO ALSO NOTHING"),
    statement("GRANT SELECT ON {table} TO PUBLIC", "GRANT UPDATE ({column}) ON {table} TO PUBLIC"),
    statement("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC"),
    statement("ALTER TABLE {table} SET (fillfactor = 50)", "ALTER TABLE {table} ALTER {column} SET STATISTICS 500"),
    statement("CREATE UNLOGGED TABLE {name} AS SELECT 1 AS n", "ALTER TABLE {table} SET (autovacuum_enabled = off)"),
    statement("ALTER TABLE {table} REPLICA IDENTITY FULL", "CREATE PUBLICATION {name} FOR TABLE {table}"),
    statement("ALTER TABLE {table} ADD CONSTRAINT {name} CHECK ({column} IS NOT NULL OR true) NOT VALID"),
    statement(
        "ALTER TABLE {table} ADD CONSTRAINT {name} EXCLUDE USING hash ({column} WITH =)", words=("models.UUIDField",)
    ),
    statement("CREATE TEXT SEARCH CONFIGURATION {name} (COPY = simple)"),
    statement("CREATE AGGREGATE {name}(integer) (SFUNC = int4pl, STYPE = integer, INITCOND = '0')"),
    statement(
        "CREATE EXTENSION pg_trgm", "CREATE INDEX {name} ON {table} USING gin ({column} gin_trgm_ops)", words=TEXT
    ),
    statement("ALTER TABLE {table} ALTER {column} TYPE varchar(50)", words=("models.URLField", "models.SlugField")),
    statement("ALTER TABLE {table} ALTER {column} SET DEFAULT 'it''s %'", words=TEXT),
    statement("CREATE TABLE {name} (LIKE {table} INCLUDING ALL)", "INSERT INTO {name} SELECT * FROM {table}"),
]
