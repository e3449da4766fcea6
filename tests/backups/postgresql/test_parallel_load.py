"""A restore reads and indexes tables in other sessions while it loads the next ones."""

import contextlib
import io
import signal
import threading
from collections.abc import Collection, Iterator
from typing import Any

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from ops.backups.engines.postgresql import database_swap, dump_loader, early_digests, parallel_build, table_digests
from ops.backups.engines.postgresql.dump_reader import Statement
from ops.backups.engines.postgresql.engine import PostgresEngine
from ops.backups.engines.postgresql.parallel_build import Batch, Build, Builder, as_build, group, split
from ops.backups.manifest import Kind
from ops.databases.postgres.connection import ConnectionInfo
from ops.errors import ArtifactInvalid, OpsError
from ops.utils.progress import no_progress
from tests.backups.postgresql import support
from tests.backups.postgresql.support import Backup, Database


@pytest.fixture
def read_early(monkeypatch: pytest.MonkeyPatch) -> list[Collection[str]]:
    """Each table is committed once it is loaded. The names of those whose digests are read early."""
    found: list[Collection[str]] = []
    read = early_digests.EarlyDigests.read

    def record(digests: early_digests.EarlyDigests, names: Collection[str]) -> None:
        found.append(names)
        read(digests, names)

    monkeypatch.setattr(dump_loader, "COMMIT_AFTER", 0)
    monkeypatch.setattr(early_digests.EarlyDigests, "read", record)
    return found


@pytest.mark.parametrize("kind", [Kind.SQL, Kind.CUSTOM])
def test_tables_in_transactions_of_their_own_give_the_content_of_the_backup(
    lab: Database, engine: PostgresEngine, read_early: list[Collection[str]], kind: Kind
) -> None:
    lab.rows(
        "CREATE TABLE parted (id int, x text, PRIMARY KEY (id)) PARTITION BY RANGE (id);"
        "CREATE TABLE low PARTITION OF parted FOR VALUES FROM (0) TO (10);"
        "CREATE TABLE high PARTITION OF parted FOR VALUES FROM (10) TO (20);"
        "INSERT INTO parted SELECT n, n FROM generate_series(0, 19) AS n;"
        "CREATE TABLE parent (id int); CREATE TABLE child () INHERITS (parent);"
        "INSERT INTO child VALUES (1); INSERT INTO parent VALUES (2);"
        "SELECT lo_from_bytea(4711, 'large')"
    )
    dump, tables = support.dump_of(engine, kind)
    assert support.restore(engine, dump, kind=kind) == tables
    assert [{name} for name in engine.count(io.BytesIO(dump), kind=kind, on_progress=no_progress)] == read_early[:-1]
    lab.rows("ANALYZE")
    # Frozen rows are visible to all, without a vacuum.
    frozen = "SELECT relname, relallvisible = relpages FROM pg_class WHERE relname = ANY(%s) ORDER BY 1"
    names = ["child", "device", "high", "low", "parent", "rack"]
    assert lab.rows(frozen, [names]) == [(name, True) for name in names]
    assert lab.value("SELECT lo_get(4711)::text") == r"\x6c61726765"


def test_truncated_dump_of_which_tables_are_committed_is_refused_and_dropped(
    lab: Database, engine: PostgresEngine, lab_backup: Backup, read_early: list[Collection[str]]
) -> None:
    dump, tables = lab_backup
    for cut in (dump.index(b"device 250"), dump.index(b"COPY public.rack"), dump.index(b"CREATE INDEX")):
        with pytest.raises(ArtifactInvalid, match="truncated"):
            support.restore(engine, dump[:cut])
        assert support.leftovers(lab.name) == []
    assert read_early
    assert support.tables_of(engine) == tables


def test_table_in_two_blocks_is_read_again(engine: PostgresEngine, read_early: list[Collection[str]]) -> None:
    lines = b"CREATE TABLE public.t (a integer);\nCREATE TABLE public.u (a integer);\n"
    for table, row in ((b"t", b"1"), (b"u", b"2"), (b"t", b"3")):
        lines += b"COPY public.%b (a) FROM stdin;\n%b\n\\.\n" % (table, row)
    _, tables = support.restore_test(engine, lines + b"\n--\n-- PostgreSQL database dump complete\n--\n")
    assert (tables["t"].rows, tables["u"].rows) == (2, 1)
    assert read_early == [{"t"}, {"u"}, {"t"}, set()]


def test_rows_that_the_query_of_a_materialized_view_writes_are_seen(
    lab: Database, engine: PostgresEngine, read_early: list[Collection[str]]
) -> None:
    lab.rows(
        "CREATE TABLE log (n int);"
        "CREATE FUNCTION note() RETURNS int LANGUAGE sql AS 'INSERT INTO public.log VALUES (1) RETURNING n';"
        "CREATE MATERIALIZED VIEW noted AS SELECT note()"
    )
    dump, tables = support.dump_of(engine)
    _, loaded = support.restore_test(engine, dump)
    assert {"log"} in read_early
    assert (tables["log"].rows, loaded["log"].rows) == (1, 2)


@pytest.mark.parametrize(
    "caller",
    [
        "CREATE INDEX i ON t (noted(a))",
        "ALTER TABLE t ADD b int GENERATED ALWAYS AS (noted(a)) STORED",
        "ALTER TABLE t ADD CHECK (noted(a) > 0)",
    ],
)
def test_rows_that_the_function_of_an_expression_writes_are_seen(
    lab: Database, engine: PostgresEngine, read_early: list[Collection[str]], caller: str
) -> None:
    """PostgreSQL believes that a function is immutable, and does not look at those that it calls."""
    lab.rows(
        "CREATE TABLE log (n int); CREATE TABLE t (a int); INSERT INTO t VALUES (1);"
        "CREATE FUNCTION note(int) RETURNS int LANGUAGE sql AS 'INSERT INTO public.log VALUES ($1) RETURNING n';"
        "CREATE FUNCTION noted(n int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN public.note(n); END';"
        + caller
    )
    dump, tables = support.dump_of(engine)
    _, loaded = support.restore_test(engine, dump)
    assert {"log"} in read_early
    assert (tables["log"].rows, loaded["log"].rows) == (1, 2)


def test_load_that_ends_early_ends_the_query_of_a_digest(lab: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the scratch database could not be dropped before the largest table is read."""
    started = threading.Event()

    def read(cursor: Any, **_: Any) -> None:
        started.set()
        cursor.execute("SELECT pg_sleep(1000)")

    monkeypatch.setattr(early_digests, "read_digests", read)
    with early_digests.early_digests(lab.address) as digests:
        digests.read({"rack"})
        digests.read({"device"})
        started.wait()
    assert digests.collect() == {}


END_ITSELF = "SELECT pg_terminate_backend(pg_backend_pid())"


def test_all_digests_are_read_after_the_load_where_their_session_is_lost(
    lab: Database, engine: PostgresEngine, lab_backup: Backup, monkeypatch: pytest.MonkeyPatch
) -> None:
    dump, tables = lab_backup
    read = early_digests.read_digests

    def lose(cursor: Any, **options: Any) -> Any:
        found = read(cursor, **options)
        if "rack" in found:
            cursor.execute(END_ITSELF)
        return found

    monkeypatch.setattr(dump_loader, "COMMIT_AFTER", 0)
    monkeypatch.setattr(early_digests, "read_digests", lose)
    assert support.restore(engine, dump) == tables


@pytest.mark.parametrize("moment", ["compare", "commit", "build"])
def test_session_that_is_lost_is_an_error_of_the_server(
    engine: PostgresEngine, lab_backup: Backup, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    dump, tables = lab_backup
    name = {"compare": "FUNCTIONS", "commit": "copy_blocks", "build": "LIMIT_WORKERS"}[moment]
    if moment == "commit":
        # The connection of the load is lost between two statements.
        monkeypatch.setattr(dump_loader, "COMMIT_AFTER", 0)
        copy = dump_loader.copy_blocks

        def copy_and_lose(cursor: Any, statement: Any, blocks: Any) -> None:
            copy(cursor, statement, blocks)
            pid = cursor.connection.info.backend_pid
            support.server().rows(f"SELECT pg_terminate_backend({pid}, 10000)")

        monkeypatch.setattr(dump_loader, name, copy_and_lose)
    else:
        monkeypatch.setattr(database_swap if moment == "compare" else parallel_build, name, END_ITSELF)
    with pytest.raises(OpsError, match=r"The server failed: .*The load was rolled back"):
        support.restore(engine, dump)
    assert support.leftovers(engine.database) == []
    assert support.tables_of(engine) == tables


# --- Indexes and keys ---------------------------------------------------------------------------------------------
INDEX = b"CREATE INDEX i ON public.t USING btree (a);"
UNIQUE = b"CREATE UNIQUE INDEX i ON ONLY public.t USING btree (a);"
ODD = b'ALTER TABLE ONLY public."odd ""name"" with quotes"\n    ADD CONSTRAINT "a key" PRIMARY KEY (a);'
KEY = b"ALTER TABLE ONLY public.t\n    ADD CONSTRAINT t_pkey PRIMARY KEY (a);"
FOREIGN = b"ALTER TABLE ONLY public.t\n    ADD CONSTRAINT t_u FOREIGN KEY (a) REFERENCES public.u(a);"
EXCLUDED = b"ALTER TABLE ONLY public.t\n    ADD CONSTRAINT t_a EXCLUDE USING btree (a WITH =);"


@pytest.mark.parametrize(
    ("text", "table", "shared"),
    [
        (INDEX, b"public.t", True),
        (UNIQUE, b"public.t", True),
        (KEY, b"public.t", False),
        (ODD, b'public."odd ""name"" with quotes"', False),
    ],
)
def test_statement_that_builds_an_index_locks_its_table(text: bytes, table: bytes, shared: bool) -> None:
    assert as_build(Statement(text)) == Build(statement=Statement(text), table=table, shared=shared)


@pytest.mark.parametrize(
    "text",
    [
        FOREIGN,
        EXCLUDED,
        b"ALTER INDEX public.i ATTACH PARTITION public.j;",
        b"CREATE TRIGGER x BEFORE INSERT ON public.t;",
    ],
)
def test_other_statements_run_alone(text: bytes) -> None:
    assert as_build(Statement(text)) is None


def test_split_is_after_the_last_statement_that_builds_an_index() -> None:
    statements = [*map(Statement, (KEY, FOREIGN, INDEX, b"COMMENT ON INDEX public.i IS 'x';", FOREIGN))]
    assert split(statements) == (statements[:3], statements[3:])
    assert split(statements[3:]) == ([], statements[3:])


def test_keys_are_complete_before_an_index_whose_function_may_need_one() -> None:
    comment = Statement(b"COMMENT ON INDEX public.i IS 'x';")
    key, odd, index, unique = map(Statement, (KEY, ODD, INDEX, UNIQUE))
    statements = [key, odd, index, unique, comment, index]
    assert [*group(statements)] == [[key, odd], [index, unique], [comment], [index]]


def sessions_of(lab: Database) -> Any:
    @contextlib.contextmanager
    def session() -> Iterator[Connection]:
        with contextlib.closing(lab.connect()) as connection:
            yield connection

    return session


def indexes_of(lab: Database, table: str) -> list[Any]:
    return lab.rows("SELECT indexname FROM pg_indexes WHERE tablename = %s ORDER BY 1", [table])


SLEEPING = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND wait_event = 'PgSleep'"


@pytest.fixture
def endless(lab: Database) -> list[Statement]:
    """Builds that do not end."""
    lab.rows(
        "CREATE TABLE t (a int); INSERT INTO t VALUES (1), (1); CREATE TABLE u AS TABLE t;"
        "CREATE FUNCTION endless(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1 FROM pg_sleep(1000)'"
    )
    return [Statement(b"CREATE INDEX i%d ON public.t USING btree (public.endless(a));" % number) for number in range(4)]


def test_build_that_fails_ends_the_others(lab: Database, endless: list[Statement]) -> None:
    unique = Statement(b"CREATE UNIQUE INDEX failed ON public.u USING btree (a);")
    with pytest.raises(ArtifactInvalid, match="could not create unique index"):
        Builder(sessions_of(lab), [], no_progress).build([endless[0], unique, *endless[1:]])
    assert indexes_of(lab, "t") == indexes_of(lab, "u") == []


def test_interruption_ends_all_builds(lab: Database, endless: list[Statement]) -> None:
    main = threading.get_ident()

    def interrupt() -> None:
        while lab.value(SLEEPING, [lab.name]) < 2:
            pass
        signal.pthread_kill(main, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        Builder(sessions_of(lab), [], no_progress).build(endless)
    thread.join()
    assert lab.value(SLEEPING, [lab.name]) == 0
    assert indexes_of(lab, "t") == []


def test_names_in_indexes_and_policies_are_those_of_the_backup(lab: Database, engine: PostgresEngine) -> None:
    """A dump sets an empty search path. With another, a function of the schema public would be the better match."""
    lab.rows(
        "CREATE TABLE t (a int[]); INSERT INTO t VALUES ('{1,2}');"
        "CREATE INDEX i ON t (array_length(a, 1));"
        "CREATE POLICY p ON t USING (array_length(a, 1) = 2);"
        "CREATE FUNCTION array_length(int[], int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 0'"
    )
    definitions = "SET search_path = ''; SELECT pg_get_indexdef('public.i'::regclass), qual FROM pg_policies"
    before = lab.rows(definitions)
    dump, _ = support.dump_of(engine)
    support.restore(engine, dump)
    assert lab.rows(definitions) == before


def test_setting_between_builds_holds_for_those_after_it(lab: Database) -> None:
    lab.rows(
        "CREATE SCHEMA s; CREATE FUNCTION s.f(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1';"
        "CREATE TABLE t (a int)"
    )
    setting = Statement(b"SET search_path = s;")
    index = Statement(b"CREATE INDEX i ON public.t USING btree (f(a));")
    Builder(sessions_of(lab), [], no_progress).build([setting, index])
    assert indexes_of(lab, "t") == [("i",)]


def test_digests_lock_one_table_at_a_time(lab: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A statement that locks a table and those that inherit from it would wait for them in another order."""
    expected = support.tables_of(support.engine_of(lab))
    read, done = table_digests.read_digest, []

    def read_one(cursor: Any, table: table_digests.Table, condition: str) -> Any:
        for earlier in done:
            lab.rows(f"BEGIN; LOCK TABLE {earlier} IN ACCESS EXCLUSIVE MODE NOWAIT; COMMIT")
        done.append(table.quoted)
        return read(cursor, table, condition)

    monkeypatch.setattr(table_digests, "read_digest", read_one)
    with early_digests.early_digests(lab.address) as digests:
        digests.read({"rack", "device", "nothing"})
        found = digests.collect()
    assert len(done) == 3
    assert found == {name: expected[name] for name in ("device", "nothing", "rack")}


def test_digest_of_a_loaded_table_does_not_wait_for_the_table_that_is_loaded(lab: Database) -> None:
    """The load has emptied that one, which locks it until its rows are committed."""
    expected = support.tables_of(support.engine_of(lab))
    with contextlib.closing(lab.connect()) as loading, early_digests.early_digests(lab.address) as digests:
        with loading.cursor() as cursor:
            cursor.execute("TRUNCATE device")
        digests.read({"rack"})
        (reading,) = digests._reading
        assert reading.result(timeout=20) == {"rack": expected["rack"]}


def test_builds_need_one_connection(lab: Database) -> None:
    """The role or the server may have no second one."""
    others = lab.address.with_database(support.new_name())

    @contextlib.contextmanager
    def session() -> Iterator[Connection]:
        address = lab.address if not opened else others
        opened.append(address)
        with contextlib.closing(address.connect()) as connection:
            yield connection

    opened: list[ConnectionInfo] = []
    lab.rows("CREATE TABLE t (a int)")
    builds = [Statement(b"CREATE INDEX i%d ON public.t USING btree (a);" % number) for number in range(3)]
    Builder(session, [], no_progress).build(builds)
    assert opened == [lab.address, others]
    assert indexes_of(lab, "t") == [("i0",), ("i1",), ("i2",)]


def test_digests_are_read_after_the_load_where_there_is_no_connection_for_them(lab: Database) -> None:
    with early_digests.early_digests(lab.address.with_database(support.new_name())) as digests:
        digests.read({"rack"})
        assert digests.collect() == {}


def test_builds_that_exclude_each_other_never_run_at_the_same_time() -> None:
    def build(number: int, table: bytes, *, shared: bool) -> Build:
        return Build(statement=Statement(b"%d" % number), table=table, shared=shared)

    builds = [
        *(build(number, b"t", shared=False) for number in range(3)),
        *(build(number, b"t", shared=True) for number in range(3, 6)),
        *(build(number, b"u", shared=False) for number in range(6, 9)),
    ]
    batch, taken, lock = Batch([*builds]), [], threading.Lock()

    def work() -> None:
        while one := batch._take():
            with lock:
                running = [other for other in taken if not other[1]]
                assert not any(one.excludes(other) for other, _ in running)
                taken.append([one, False])
            with lock:
                next(entry for entry in taken if entry[0] is one)[1] = True
            batch._end(one)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(int(one.statement.text) for one, _ in taken) == list(range(9))
