"""Programs of others are started without the keys and addresses of this project."""

import ast
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from homerack.serve.services import embedded_redis
from ops.backups.manifest import Kind
from ops.databases.postgres.client_programs import probe_directory
from ops.errors import ArtifactInvalid, ToolFailed
from ops.utils.environment import LIBPQ_VARIABLES, SYSTEM_VARIABLES
from ops.utils.progress import no_progress
from tests.backups.postgresql import support
from tests.backups.postgresql.support import Database
from tests.support.forked import ROOT

OURS = {
    "SECRET_KEY": "the key of the site",
    "SECRET_KEY_FALLBACKS": "the keys before it",
    "BACKUP_SIGNING_KEY": "the key of the backups",
    "DATABASE_URL": "postgres://lab:the-password@db/lab",
    "POSTGRES_URL": "postgres://lab:the-password@db/lab",
    "REDIS_URL": "redis://:the-password@redis",
    "NOTIFY_URLS": "ntfy://token@ntfy.sh/lab",
    "BACKUP_LOCATION_BUCKET_SECRET_KEY": "the key of the bucket",
    "AWS_SECRET_ACCESS_KEY": "the key of the machine",
    "PGADMIN_DEFAULT_PASSWORD": "another program's",
    "LC_TIME": "C",
    "PGSSLROOTCERT": "/etc/ssl/lab.pem",
    "PGPASSFILE": "/home/lab/.pgpass",
}


@pytest.fixture
def lab(django_db_blocker: Any) -> Iterator[Database]:
    with django_db_blocker.unblock():
        name = support.new_name()
        yield support.create(name)
        # The address of the server is the test run's again.
        support.drop(name)


@pytest.fixture
def programs(lab: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """pg_dump and pg_restore that write down what they find, and fail."""
    version = lab.value("SELECT current_setting('server_version')").split()[0]
    for name in ("pg_dump", "pg_restore"):
        support.write_program(
            tmp_path / "bin",
            name,
            f'cat /proc/self/environ > {tmp_path}/{name}$([ "$1" = --version ] && echo _version)\n'
            f'[ "$1" = --version ] && echo "{name} (PostgreSQL) {version}" && exit\ncat > /dev/null; exit 3',
        )
    with monkeypatch.context() as patch:
        for name, value in OURS.items():
            patch.setenv(name, value)
        yield tmp_path / "bin"


def environment(path: Path) -> dict[str, str]:
    lines = path.read_text().split("\0")
    found = dict(line.split("=", 1) for line in lines if line)
    # What the shell that writes it down adds.
    return {name: value for name, value in found.items() if name not in {"PWD", "OLDPWD", "SHLVL", "_"}}


def test_client_programs_get_no_secret_in_their_environment(lab: Database, programs: Path, tmp_path: Path) -> None:
    engine = support.engine_of(lab, tools_directory=programs)
    with pytest.raises(ToolFailed), engine.snapshot(kind=Kind.SQL) as snapshot:
        list(snapshot.stream(no_progress))
    with pytest.raises(ArtifactInvalid):
        engine.count(io.BytesIO(b"PGDMP"), kind=Kind.CUSTOM, on_progress=no_progress)
    dump, restore = environment(tmp_path / "pg_dump"), environment(tmp_path / "pg_restore")
    asked = environment(tmp_path / "pg_dump_version")
    assert dump["PGPASSWORD"] == engine.address.password
    assert (dump["PGSSLROOTCERT"], dump["PGPASSFILE"]) == (OURS["PGSSLROOTCERT"], OURS["PGPASSFILE"])
    for found in (dump, restore, asked):
        assert found.keys() <= SYSTEM_VARIABLES | LIBPQ_VARIABLES | {"LC_ALL", "LC_CTYPE", "LC_TIME"}
        assert found["PATH"]
    # These do not connect to a server.
    assert not [name for found in (restore, asked) for name in found if name.startswith("PG")]


def test_environment_of_client_programs_is_minimal(programs: Path) -> None:
    assert probe_directory(programs)
    secrets = [value for name, value in OURS.items() if name not in {"LC_TIME", "PGSSLROOTCERT", "PGPASSFILE"}]
    written = (programs.parent / "pg_dump_version").read_text()
    assert [secret for secret in [*secrets, settings.SECRET_KEY] if secret in written] == []


def test_embedded_redis_gets_no_secret_in_its_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in OURS.items():
        monkeypatch.setenv(name, value)
    given = embedded_redis(tmp_path / "socket").environment
    assert given is not None
    assert given.keys() <= SYSTEM_VARIABLES | {"LC_ALL", "LC_CTYPE", "LC_TIME"}


def starts() -> Iterator[tuple[str, ast.Call]]:
    """Every place in the code that starts a program."""
    for path in sorted([*(ROOT / "ops").rglob("*.py"), *(ROOT / "homerack").rglob("*.py")]):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and (called := ast.unparse(node.func)).startswith(("subprocess.", "os.")):
                starting = called.removeprefix("os.").startswith(("exec", "spawn", "posix_spawn", "popen", "system"))
                if called.startswith("subprocess.") or starting:
                    yield str(path.relative_to(ROOT)), node


def test_every_subprocess_call_sets_its_environment() -> None:
    found = [
        (where, [ast.unparse(word.value) for word in call.keywords if word.arg == "env"]) for where, call in starts()
    ]
    assert sorted(found) == [
        (
            "homerack/serve/supervisor.py",
            ["self.environment if service.environment is None else service.environment"],
        ),
        ("ops/backups/untrusted/dump_tasks.py", ["minimal_environment(LC_ALL='C')"]),
        ("ops/backups/untrusted/process.py", ["minimal_environment(LC_ALL='C.UTF-8')"]),
        ("ops/databases/postgres/client_programs.py", ["minimal_environment()"]),
        ("ops/databases/postgres/client_programs.py", ["minimal_environment(**environment)"]),
    ]
