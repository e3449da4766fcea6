"""A PostgreSQL server that speaks TLS with certificates of its own, and a PgBouncer in front of it."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2

from tests.support.postgres import PASSWORD, PostgresServer, die_with_parent, free_port, unprivileged_user

GUARDED = "guarded"
"""A role that may make databases and has to show a certificate."""


@dataclass(frozen=True)
class Server:
    postgres: PostgresServer
    certificates: Path

    def url(self, database: str) -> str:
        return self.postgres.url(database)

    def guarded_url(self, database: str, **options: str) -> str:
        """By name and with TLS as strict as it gets, unless `options` say otherwise."""
        folder = self.certificates
        strict = {"sslmode": "verify-full", "sslrootcert": f"{folder}/ca.crt"}
        shown = {"sslcert": f"{folder}/guarded.crt", "sslkey": f"{folder}/guarded.key"}
        query = "&".join(f"{name}={value}" for name, value in (strict | shown | options).items() if value)
        where = f"localhost:{self.postgres.port}/{database}?{query}"
        return f"postgres://{GUARDED}:{PASSWORD}@{where}"

    def query(self, sql: str, database: str = "postgres") -> list[Any]:
        connection = psycopg2.connect(self.url(database))
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()


@contextmanager
def tls_server() -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="homerack-tls-"))
    folder.chmod(0o755)
    for authority in ("ca", "stranger"):
        key, certificate = folder / f"{authority}.key", folder / f"{authority}.crt"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                "-subj", f"/CN={authority}", "-keyout", key, "-out", certificate)  # fmt: skip
    for name in ("localhost", GUARDED):
        make_certificate(folder, name)
    rules = folder / "pg_hba.conf"
    rules.write_text(
        f"hostssl all {GUARDED} 127.0.0.1/32 scram-sha-256 clientcert=verify-full\nhost all {GUARDED} all reject\n"
        "host all all 127.0.0.1/32 scram-sha-256\n"
    )
    rules.chmod(0o644)
    if user := unprivileged_user():
        shutil.chown(folder / "localhost.key", user)
    postgres = PostgresServer.start(
        "ssl = on",
        f"ssl_cert_file = '{folder}/localhost.crt'",
        f"ssl_key_file = '{folder}/localhost.key'",
        f"ssl_ca_file = '{folder}/ca.crt'",
        f"hba_file = '{rules}'",
    )
    server = Server(postgres, folder)
    try:
        server.query(f"CREATE ROLE {GUARDED} LOGIN CREATEDB PASSWORD '{PASSWORD}'")
        yield server
    finally:
        postgres.stop()
        shutil.rmtree(folder)


def make_certificate(folder: Path, name: str) -> None:
    """For the host or the role `name`, signed by ``ca``."""
    key, request, certificate = (folder / f"{name}.{suffix}" for suffix in ("key", "csr", "crt"))
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
            "-addext", f"subjectAltName=DNS:{name}", "-keyout", key, "-out", request)  # fmt: skip
    openssl("x509", "-req", "-in", request, "-CA", folder / "ca.crt", "-CAkey", folder / "ca.key", "-CAcreateserial",
            "-days", "2", "-copy_extensions", "copy", "-out", certificate)  # fmt: skip
    key.chmod(0o600)


def openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


@dataclass(frozen=True)
class PgBouncer:
    port: int
    password: str

    def url(self, database: str) -> str:
        return f"postgres://homerack:{self.password}@127.0.0.1:{self.port}/{database}"


CONFIGURATION = """
[databases]
* = host=127.0.0.1 port={server}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {folder}/users.txt
pool_mode = {mode}
default_pool_size = 2
server_login_retry = 1
{more}
"""


@contextmanager
def pgbouncer(
    server: int, *, password: str = PASSWORD, mode: str = "transaction", more: str = ""
) -> Iterator[PgBouncer]:
    """In front of the port `server`, with two connections for all of the clients of a database, unless `more` says
    otherwise.
    """
    folder, port = Path(tempfile.mkdtemp(prefix="homerack-pgbouncer-")), free_port()
    configuration = folder / "pgbouncer.ini"
    configuration.write_text(CONFIGURATION.format(server=server, port=port, folder=folder, mode=mode, more=more))
    (folder / "users.txt").write_text(f'"homerack" "{password}"\n')
    user = unprivileged_user()
    if user:
        for path in (folder, *folder.iterdir()):
            shutil.chown(path, user)
    process = subprocess.Popen(
        [shutil.which("pgbouncer") or "pgbouncer", "--quiet", str(configuration)],
        user=user,
        extra_groups=[] if user else None,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={"PATH": os.environ["PATH"]},
        preexec_fn=die_with_parent,  # noqa: PLW1509  # one system call; nothing else can tell a child to follow
    )
    try:
        bouncer = PgBouncer(port, password)
        wait_until_it_answers(bouncer, process)
        yield bouncer
    finally:
        process.terminate()
        process.wait(timeout=20)
        shutil.rmtree(folder)


def wait_until_it_answers(bouncer: PgBouncer, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            psycopg2.connect(bouncer.url("postgres")).close()
        except psycopg2.OperationalError:
            assert time.monotonic() < deadline, "PgBouncer did not start"
            assert process.poll() is None, "PgBouncer has ended"
            time.sleep(0.05)
        else:
            return
