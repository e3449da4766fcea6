"""Servers whose administrator has revoked functions of PostgreSQL from PUBLIC: refusals that say what to grant."""

import pytest

from ops.errors import OpsError, PreconditionFailed, ToolFailed
from tests.backups.postgresql import support
from tests.engine_migration.support import Database
from tests.servers.conftest import Make
from tests.servers.support import at
from tests.support.postgres import PostgresServer


def grant_of(refused: pytest.ExceptionInfo[OpsError], database: Database, function: str) -> str:
    """The statement in the hint of the refusal."""
    statement = f"GRANT EXECUTE ON FUNCTION {function} TO {database.name};"
    assert refused.value.hint == f"As an administrator, in the database {database.name}: {statement}"
    return statement


@pytest.mark.parametrize(
    "function", ["set_config(text,text,boolean)", "aclexplode(aclitem[])", 'acldefault("char",oid)']
)
def test_backup_and_restore_name_a_function_that_they_need(
    server: PostgresServer, make_database: Make, function: str
) -> None:
    """Without the rights of the live database, a restore would grant what is revoked there."""
    database = make_database("CREATEDB")
    engine = support.engine_of(database)
    dump, _ = support.dump_of(engine)
    admin = at(server, database.name)
    admin.rows(f"REVOKE EXECUTE ON FUNCTION {function} FROM PUBLIC")
    for refuse in (
        lambda: support.dump_of(engine),
        lambda: support.restore_test(engine, dump),
        lambda: support.restore(engine, dump),
    ):
        with pytest.raises(PreconditionFailed) as refused:
            refuse()
        assert refused.value.message == (
            f"The database {database.address} cannot be read: permission denied for function"
            f" {function.partition('(')[0]}."
        )
        grant_of(refused, database, function)
    admin.rows(grant_of(refused, database, function))
    support.dump_of(engine)


def test_backup_names_a_function_that_pg_dump_needs(server: PostgresServer, make_database: Make) -> None:
    database = make_database()
    database.rows("CREATE VIEW tall AS SELECT name FROM rack WHERE height > 40")
    admin = at(server, database.name)
    admin.rows("REVOKE EXECUTE ON FUNCTION pg_get_viewdef(oid) FROM PUBLIC")
    engine = support.engine_of(database)
    with pytest.raises(ToolFailed, match=r"^pg_dump failed with exit code 1: .*pg_get_viewdef") as refused:
        support.dump_of(engine)
    admin.rows(grant_of(refused, database, "pg_get_viewdef(oid)"))
    support.dump_of(engine)


@pytest.mark.parametrize("function", ["pg_sleep(double precision)", "hashtext(text)", "pg_stat_get_activity(integer)"])
def test_restore_uses_the_template_that_has_the_same_rights(
    server: PostgresServer, make_database: Make, function: str
) -> None:
    """Only a superuser may revoke a function of PostgreSQL in the database that replaces the live one."""
    database = make_database("CREATEDB")
    engine = support.engine_of(database)
    dump, before = support.dump_of(engine)
    at(server, database.name).rows(f"REVOKE EXECUTE ON FUNCTION {function} FROM PUBLIC")
    with pytest.raises(PreconditionFailed) as refused:
        support.restore(engine, dump)
    where, _, revoke = refused.value.hint.partition("extensions): ")
    assert where == (
        "Run the command as a superuser. Or, as an administrator, in the database template1 (which has to have the same"
        " locale and "
    )
    template = at(server, "template1")
    template.rows(revoke)
    try:
        assert support.restore(engine, dump) == before
        assert not database.value(f"SELECT has_function_privilege('{function}', 'EXECUTE')")
    finally:
        template.rows(f"GRANT EXECUTE ON FUNCTION {function} TO PUBLIC")
