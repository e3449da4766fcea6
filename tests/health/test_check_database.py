"""``manage.py check_database`` in a terminal and in a start script."""

import contextlib
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import psycopg2

from tests.support import forked
from tests.support.backend import eventually
from tests.support.postgres import PASSWORD, PostgresServer, free_port


def check(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return forked.run(["manage.py", "check_database", *arguments], env=os.environ | {"REDIS_URL": ""} | environment)


def migrate(url: str) -> None:
    forked.run(["manage.py", "migrate", "--verbosity", "0"], env=os.environ | {"DATABASE_URL": url}, check=True)


def test_exit_code_depends_on_the_status(server: PostgresServer) -> None:
    url = server.url("postgres")
    degraded = check("--json", DATABASE_URL=url)
    assert (degraded.returncode, json.loads(degraded.stdout)["status"]) == (3, "degraded")
    assert json.loads(degraded.stdout)["checks"]["migrations"]["detail"].endswith("Run: manage.py migrate")
    migrate(url)
    healthy = check("--json", DATABASE_URL=url)
    assert (healthy.returncode, json.loads(healthy.stdout)["status"]) == (0, "healthy")
    unhealthy = check("--json", DATABASE_URL=url.rpartition(":")[0] + f":{free_port()}/postgres")
    answer = json.loads(unhealthy.stdout)
    assert (unhealthy.returncode, answer["status"]) == (1, "unhealthy")
    assert "Connection refused" in answer["checks"]["database"]["detail"]
    assert PASSWORD not in unhealthy.stdout + unhealthy.stderr


def test_sequence_that_gives_numbers_that_exist_is_named_with_the_sql_to_type(server: PostgresServer) -> None:
    """After rows were written with numbers, or in a table whose column alone has become larger."""
    url = server.url("postgres")
    migrate(url)
    with contextlib.closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO auth_group VALUES (40, 'Guests')")
        cursor.execute("CREATE TABLE odd (id serial PRIMARY KEY, n serial); INSERT INTO odd VALUES (7, 70)")
        cursor.execute("ALTER TABLE odd ALTER id TYPE bigint")
        cursor.execute("CREATE TABLE empty (id bigserial PRIMARY KEY)")
    found = check("--json", DATABASE_URL=url)
    assert (found.returncode, json.loads(found.stdout)["checks"]["sequences"]) == (
        3,
        {
            "status": "degraded",
            "error": "SequenceProblem",
            "detail": "The sequence auth_group_id_seq of auth_group.id (integer) continues with 6, and the largest"
            " number is 40. Type: ALTER SEQUENCE auth_group_id_seq RESTART WITH 41; (2 sequences are wrong)",
        },
    )
    with contextlib.closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("ALTER SEQUENCE auth_group_id_seq RESTART WITH 41")
    (detail,) = (json.loads(check("--json", DATABASE_URL=url).stdout)["checks"]["sequences"]["detail"],)
    assert detail == (
        "The sequence odd_id_seq of odd.id (bigint) ends at 2147483647, before the column does, and continues with 1,"
        " and the largest number is 7. Type: ALTER SEQUENCE odd_id_seq AS bigint NO MAXVALUE RESTART WITH 8;"
    )
    with contextlib.closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(detail.partition("Type: ")[2])
    assert check("--json", DATABASE_URL=url).returncode == 0


def test_output_without_json_is_a_table(server: PostgresServer) -> None:
    done = check(DATABASE_URL=server.url("postgres"))
    assert "postgresql" in done.stdout
    assert "pool size 20, checked in" in done.stdout
    assert done.stderr == ""


def test_pool_info_on_sqlite_is_null(migrated: Path, tmp_path: Path) -> None:
    database = shutil.copy(migrated / "homerack.db", tmp_path)
    done = check("--json", DATABASE_URL=f"sqlite:///{database}")
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["database_type"], answer["pool_info"]) == (0, "sqlite", None)


def test_wait_ends_when_the_server_accepts_connections(server: PostgresServer, tmp_path: Path) -> None:
    migrate(server.url("postgres"))
    server.halt()
    environment = {"DATABASE_URL": server.url("postgres"), "DB_CONNECT_RETRY_DELAY": "0.2", "REDIS_URL": ""}
    log = tmp_path / "stderr"
    with log.open("w") as stderr:
        command = ["manage.py", "check_database", "--wait", "60", "--json"]
        waiter = forked.start(command, env=os.environ | environment, stdout=subprocess.DEVNULL, stderr=stderr)
    refused = "PostgreSQL cannot be reached (connection refused): attempt 1 failed"
    eventually(lambda: refused in log.read_text(), within=30)
    server.launch()
    assert waiter.wait(timeout=60) == 0


def test_wait_ends_after_its_seconds_and_at_once_with_a_wrong_password(server: PostgresServer) -> None:
    refused = server.url("postgres").rpartition(":")[0] + f":{free_port()}/postgres"
    start = time.monotonic()
    late = check("--wait", "2", "--json", DATABASE_URL=refused)
    assert time.monotonic() - start < 30
    assert late.returncode == 1
    assert "attempt 2 failed" in late.stderr
    assert "The database 'default' could not be reached: OperationalError." in late.stderr
    start = time.monotonic()
    wrong = check("--wait", "60", "--json", DATABASE_URL=server.url("postgres", password="wrong-one"))
    assert (wrong.returncode, time.monotonic() - start < 8) == (1, True)
    assert "wrong-one" not in wrong.stdout + wrong.stderr
