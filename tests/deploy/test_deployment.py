"""A clean Docker engine, from the first deployment to the rollback of a broken image. The tests follow each other."""

import contextlib
import json
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.deploy.machine import SCRIPT, Machine, skip_reason
from tests.support.backend import eventually

pytestmark = [pytest.mark.deploy, pytest.mark.skipif(bool(skip_reason()), reason=skip_reason())]
SERVICES = ("postgres", "redis", "web", "worker", "beat", "front")


def health(machine: Machine) -> dict[str, object]:
    answer = json.loads(machine.get("/health/"))
    return {name: answer[name] for name in ("status", "database_type")}


BROKEN_MIGRATION = """
from django.db import migrations

class Migration(migrations.Migration):
    dependencies = [("accounts", "{latest}")]
    operations = [migrations.RunSQL("CREATE TABLE half_done (n int); SELECT this_is_no_column FROM accounts_user")]
"""
SIGN_IN = """
import django
django.setup()
from django.test import Client
from homerack.accounts.models import User
client = Client()
client.force_login(User.objects.filter(is_superuser=True).first())
print(client.cookies["sessionid"].value)
"""
HEALTHY = {"status": "healthy", "database_type": "postgresql"}


@pytest.mark.parametrize(
    "name", ["SECRET_KEY", "ALLOWED_HOSTS", "POSTGRES_PASSWORD", "POSTGRES_SUPERUSER_PASSWORD", "REDIS_PASSWORD"]
)
def test_compose_without_a_secret_fails_with_its_name(machine: Machine, name: str) -> None:
    machine.configure(**{name: ""})
    ended = machine.compose("up", "--detach")
    machine.configure()
    assert ended.code != 0
    assert name in ended.text
    assert machine.remains() == []


def test_dry_run_changes_nothing(machine: Machine, lab: Path) -> None:
    ended = machine.run(SCRIPT, "--dry-run", "--sqlite-path", str(lab))
    assert ended.code == 0, ended.text
    assert f"would: Migrate {lab} to PostgreSQL" in ended.text
    assert "Nothing was changed: this was a dry run." in ended.text
    assert machine.remains() == []


def test_interrupted_first_deployment_prints_how_to_continue(machine: Machine) -> None:
    ended = machine.interrupt(SCRIPT, after="▸ Apply migrations")
    assert ended.code == 1
    assert "✗ Apply migrations failed: Interrupted." in ended.text
    assert "What was changed:\n  - PostgreSQL and Redis were started with new volumes\n" in ended.text
    assert "Run the deployment again to continue." in ended.text
    assert "-f docker-compose.prod.yml --env-file .env.production down --volumes" in ended.text


def test_first_deployment_migrates_the_file_and_verifies(machine: Machine, lab: Path) -> None:
    ended = machine.run(SCRIPT, "--sqlite-path", str(lab))
    assert ended.code == 0, ended.text
    assert re.search(r"homerack_\w+\.sql\.gz was restored into a scratch database and compared\.", ended.text)
    assert re.search(rf"✓ Migrate {lab} to PostgreSQL \d+\.\d s", ended.text)
    assert "healthy on postgresql; pool: pool_size 20" in ended.text
    assert f"HomeRack is at https://homerack.test:{machine.https_port}/." in ended.text
    assert health(machine) == HEALTHY
    assert machine.query("SELECT count(*) FROM devices") == "60"
    assert "legacy_lab" not in machine.docker("exec", "homerack-web", "sh", "-c", 'find "$TMPDIR"')
    assert machine.folder.joinpath("deploy.log").stat().st_mode & 0o077 == 0


def test_log_contains_no_secret(machine: Machine) -> None:
    log = machine.folder.joinpath("deploy.log").read_text()
    assert not re.search("0123456789abcdef|database-password|superuser-password|broker-password", log)


@pytest.mark.parametrize("service", SERVICES)
def test_container_has_limits_and_no_capabilities(machine: Machine, service: str) -> None:
    container = machine.inspect(f"homerack-{service}")
    host = container["HostConfig"]
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert host["Memory"] > 0 < host["PidsLimit"]
    assert host["LogConfig"]["Config"] == {"max-file": "5", "max-size": "10m"}
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    published = [binding["HostIp"] for bindings in host["PortBindings"].values() for binding in bindings]
    assert set(published) <= {"127.0.0.1"}


@pytest.mark.parametrize("service", SERVICES)
def test_container_runs_no_process_as_root_after_its_start(machine: Machine, service: str) -> None:
    def running() -> list[str]:
        lines = machine.docker("top", f"homerack-{service}", "-eo", "pid,uid,args").splitlines()[1:]
        assert lines
        return [line for line in lines if line.split()[1] == "0"]

    # Docker's health check runs as root, briefly.
    eventually(lambda: not running())


def test_image_has_postgresql_15_client_and_no_build_tools(machine: Machine) -> None:
    inside = ("run", "--rm", "homerack:current")
    assert "(PostgreSQL) 15." in machine.docker(*inside, "pg_dump", "--version")
    assert machine.run("docker", *inside, "sh", "-c", "command -v gcc make pip").text == ""
    assert ".env" not in machine.docker(*inside, "find", "/srv/homerack", "-name", ".env*")


class TestRoles:
    """The role of the site is not a superuser, and has no superuser's password."""

    def test_role_of_the_site_is_ordinary_and_owns_its_database(self, machine: Machine) -> None:
        what = "rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls"
        assert machine.query(f"SELECT {what} FROM pg_roles WHERE rolname = current_user") == "f|t|f|f|f"
        owners = "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        assert machine.query(owners) == "homerack"
        assert machine.query("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'homerack'") == "homerack"

    @pytest.mark.parametrize("service", ["web", "worker", "beat", "front"])
    def test_service_does_not_get_the_superuser_password(self, machine: Machine, service: str) -> None:
        given = machine.docker("inspect", "--format", "{{json .Config.Env}}", f"homerack-{service}")
        assert "superuser-password" not in given
        assert ("database-password" in given) is (service != "front")

    def test_check_with_superuser_warns(self, machine: Machine) -> None:
        check = ("docker", "exec", "homerack-web", "python", "manage.py", "check", "--database", "default")
        assert "homerack.W006" not in machine.run(*check).text
        as_superuser = "DATABASE_URL=postgres://postgres:superuser-password-of-a-test@postgres:5432/homerack"
        output = machine.run("docker", "exec", "--env", as_superuser, *check[2:]).text
        assert "homerack.W006" in output


def head(method: str, path: str, **headers: object) -> bytes:
    named = {"Host": "homerack.test"} | {name.replace("_", "-"): value for name, value in headers.items()}
    return "\r\n".join([f"{method} {path} HTTP/1.1", *(f"{name}: {it}" for name, it in named.items()), "", ""]).encode()


class TestFront:
    """Caddy: TLS, buffering of requests, their sizes, and addresses of clients."""

    @pytest.fixture
    def connect(self, machine: Machine) -> Iterator[Callable[[bytes], ssl.SSLSocket]]:
        machine.get("/health/live/")
        context = ssl.create_default_context(cafile=str(machine.folder / "authority.crt"))
        with contextlib.ExitStack() as stack:

            def send(first: bytes) -> ssl.SSLSocket:
                plain = socket.create_connection(("127.0.0.1", machine.https_port), timeout=40)
                client = stack.enter_context(context.wrap_socket(plain, server_hostname="homerack.test"))
                client.sendall(first)
                return client

            yield send

    def test_plain_http_is_redirected_to_https(self, machine: Machine) -> None:
        answer = machine.curl(f"http://homerack.test:{machine.http_port}/admin/", "--head")
        assert "Location: https://homerack.test" in answer.text

    def test_probe_by_localhost_is_answered(self, machine: Machine) -> None:
        url = f"https://localhost:{machine.https_port}/health/live/"
        assert machine.curl(url).text == '{"status": "healthy"}'

    def test_web_has_no_published_port(self, machine: Machine) -> None:
        ports = machine.inspect("homerack-web")["HostConfig"]["PortBindings"]
        assert not ports
        networks = machine.inspect("homerack-front")["NetworkSettings"]["Networks"]
        assert set(networks) == {"homerack-front"}

    def test_forwarded_headers_of_a_client_are_dropped(self, machine: Machine) -> None:
        """Otherwise the site would redirect to HTTPS, and count failures by a forged address."""
        claims = ("--header", "X-Forwarded-Proto: http", "--header", "X-Forwarded-For: 192.0.2.7")
        url = f"https://homerack.test:{machine.https_port}/admin/login/"
        assert machine.curl(url, "--fail", *claims).code == 0
        cookies = ("--cookie-jar", str(machine.folder / "jar"), "--cookie", str(machine.folder / "jar"))
        machine.curl(url, *cookies)
        token = re.search(r"csrftoken\s(\w+)", (machine.folder / "jar").read_text())
        assert token
        form = f"csrfmiddlewaretoken={token[1]}&username=stranger@example.com&password=wrong"
        machine.curl(url, *claims, *cookies, "--header", f"Referer: {url}", "--data", form)
        addresses = machine.query("SELECT ip_address FROM axes_accessattempt").split()
        assert addresses
        assert "192.0.2.7" not in addresses

    def test_slow_requests_do_not_delay_others(
        self, machine: Machine, connect: Callable[[bytes], ssl.SSLSocket]
    ) -> None:
        slow = [connect(head("POST", "/admin/login/", Content_Length=1000) + b"a") for _ in range(24)]
        slow += [connect(b"POST /admin/login/ HTTP/1.1\r\nHost: homer") for _ in range(24)]
        for _ in range(5):
            start = time.monotonic()
            assert "csrfmiddlewaretoken" in machine.get("/admin/login/")
            assert json.loads(machine.get("/health/ready/"))["checks"]["threads"] == {"status": "healthy"}
            assert time.monotonic() - start < 5
            for client in slow[:24]:
                client.sendall(b"a")

    def test_form_of_900_kb_reaches_the_site(self, connect: Callable[[bytes], ssl.SSLSocket]) -> None:
        client = connect(head("POST", "/nowhere/", Content_Length=900_000, Connection="close") + bytes(900_000))
        assert client.recv(65536).startswith(b"HTTP/1.1 404 ")

    @pytest.mark.parametrize("path", ["/admin/login/", "/admin/ops/backup/uploads/", "/nowhere/"])
    @pytest.mark.parametrize("how", [{"Content_Length": 400_000_000}, {"Transfer_Encoding": "chunked"}])
    def test_body_above_the_limit_is_refused(
        self, machine: Machine, connect: Callable[[bytes], ssl.SSLSocket], path: str, how: dict[str, object]
    ) -> None:
        client = connect(head("POST", path, **how))
        with contextlib.suppress(OSError):
            for _ in range(32):
                client.sendall(b"20000\r\n" + bytes(131072) + b"\r\n" if "Transfer_Encoding" in how else bytes(131072))
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            answer = client.recv(65536)
            assert answer == b"" or answer.split()[1] in {b"413", b"502", b"400", b"411"}
        assert machine.docker("exec", "homerack-web", "sh", "-c", 'find "$TMPDIR" -name "*.upload"') == ""

    def test_upload_without_a_session_is_redirected_early(self, connect: Callable[[bytes], ssl.SSLSocket]) -> None:
        """HomeRack answers immediately; Caddy passes the answer on after it has read what the client has sent."""
        client = connect(head("POST", "/admin/ops/backup/upload/", Content_Length=50_000_000))
        answer, sent = b"", 0
        while not answer and sent < 50_000_000:
            sent += client.send(bytes(65536))
            client.settimeout(0.02)
            with contextlib.suppress(TimeoutError):
                answer = client.recv(65536)
            client.settimeout(10)
        assert answer.startswith(b"HTTP/1.1 302 ")
        assert sent < 50_000_000

    def test_upload_of_an_administrator_may_exceed_the_form_limit(self, machine: Machine) -> None:
        """The file arrives, and is refused because it is not a backup."""
        key = machine.docker("exec", "homerack-web", "python", "-c", SIGN_IN)
        url = f"https://homerack.test:{machine.https_port}/admin/ops/backup/upload/"
        path, jar = machine.folder / "large.sql.gz", machine.folder / "administrators"
        path.write_bytes(bytes(5_000_000))
        signed_in = ("--cookie", f"sessionid={key}")
        page = machine.curl(url, "--fail", "--cookie-jar", str(jar), *signed_in).text
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
        cookie = re.search(r"csrftoken\s(\w+)", jar.read_text())
        assert token
        assert cookie
        sent = ("--form", f"csrfmiddlewaretoken={token[1]}", "--form", f"file=@{path}", "--header", f"Referer: {url}")
        cookies = ("--cookie", f"sessionid={key}; csrftoken={cookie[1]}")
        answer = machine.curl(url, *cookies, *sent, "--write-out", "%{http_code}").text
        assert answer.endswith("200")
        assert "Upload a backup" in answer


def test_sign_in_page_links_its_hashed_stylesheet(machine: Machine) -> None:
    page = machine.get("/admin/login/")
    style = re.search(r'href="(/static/inventory/admin\.[0-9a-f]{12}\.css)"', page)
    assert style
    assert "--rack-frame" in machine.get(style[1])


def test_sqlite_path_with_data_in_postgresql_is_refused(machine: Machine, lab: Path) -> None:
    ended = machine.run(SCRIPT, "--skip-backup", "--migrate-only", "--sqlite-path", str(lab))
    assert ended.code == 1
    assert "PostgreSQL is not empty" in ended.text
    assert "Nothing was changed." in ended.text
    assert health(machine) == HEALTHY


class TestBackups:
    """The backup and restore scripts, with copies outside of the containers."""

    def test_restore_of_a_copy_restores_deleted_rows(self, machine: Machine) -> None:
        made = machine.run("ops/deploy/backup_postgres.sh", "--backup-dir", "copies", "--note", "before the accident")
        assert made.code == 0, made.text
        (copy,) = machine.folder.glob("copies/*.sql.gz")
        assert copy.stat().st_mode & 0o077 == copy.parent.stat().st_mode & 0o077 == 0
        machine.docker("exec", "homerack-web", "sh", "-c", f'rm "$BACKUP_DIR"/{copy.name}*')
        machine.query("DELETE FROM connections")
        restored = machine.run("ops/deploy/restore_postgres.sh", "--force", "--backup-file", str(copy))
        assert restored.code == 0, restored.text
        assert machine.query("SELECT count(*) FROM connections") == "120"

    def test_restore_of_a_pg_dump_file_is_untrusted(self, machine: Machine) -> None:
        dump = machine.docker("exec", "homerack-postgres", "pg_dump", "-U", "homerack", "--no-owner", "homerack")
        path = machine.folder / "dump.sql"
        path.write_text(dump + "\n")
        machine.query("DELETE FROM connections")
        restored = machine.run("ops/deploy/restore_postgres.sh", "--force", "--backup-file", "dump.sql")
        assert restored.code == 0, restored.text
        assert machine.query("SELECT count(*) FROM connections") == "120"
        assert "dump.sql" not in machine.docker("exec", "homerack-web", "sh", "-c", 'ls "$TMPDIR"')

    def test_loss_that_a_restore_has_undone_is_decided(self, machine: Machine) -> None:
        """The backups before these restores have no connections, which health reports until a user decides."""
        manage = ("exec", "homerack-web", "python", "manage.py")
        assert health(machine)["status"] == "degraded"
        listed = machine.docker(*manage, "list_backups").splitlines()
        suspicious = [line.split()[0] for line in listed if "SUSPICIOUS" in line and line.startswith("homerack_")]
        assert suspicious
        for name in suspicious:
            machine.docker(*manage, "decide_backup", name, "--wrong")
        assert health(machine) == HEALTHY

    def test_restore_without_terminal_and_force_is_refused(self, machine: Machine) -> None:
        (copy,) = machine.folder.glob("copies/*.sql.gz")
        ended = machine.run("ops/deploy/restore_postgres.sh", "--backup-file", str(copy))
        assert ended.code == 5
        assert "Not a terminal, cannot ask for confirmation. Nothing was changed." in ended.text


def test_compose_down_and_up_keeps_the_data(machine: Machine) -> None:
    assert machine.compose("down").code == 0
    assert machine.compose("up", "--detach").code == 0
    ended = machine.run(SCRIPT, "--skip-backup", "--skip-migration")
    assert ended.code == 0, ended.text
    assert machine.query("SELECT count(*) FROM devices") == "60"


def create_leftover_files(machine: Machine) -> None:
    """Files of killed containers: old ones and new ones."""
    made = 'cd "$TMPDIR"; touch tmp-file; mkdir restore-old restore-new; touch --date "2 days ago" tmp-file restore-old'
    machine.docker("exec", "homerack-web", "sh", "-c", made)


def test_second_deployment_upgrades(machine: Machine) -> None:
    before = machine.inspect("homerack-web")["Image"]
    machine.folder.joinpath("homerack", "newer.py").write_text('"""A newer release."""\n')
    create_leftover_files(machine)
    ended = machine.run(SCRIPT)
    assert ended.code == 0, ended.text
    left = machine.docker("exec", "homerack-web", "sh", "-c", 'ls "$TMPDIR"').split()
    assert {"tmp-file", "restore-old", "restore-new"} & {*left} == {"restore-new"}
    assert re.search(r"▸ Back up the database\n    homerack_\w+\.sql\.gz\n", ended.text)
    assert machine.inspect("homerack-web")["Image"] != before
    assert machine.docker("image", "inspect", "--format", "{{.Id}}", "homerack:previous") == before


def test_failing_migration_keeps_the_previous_release_running(machine: Machine) -> None:
    before = machine.inspect("homerack-web")["Image"]
    broken = machine.folder / "homerack" / "accounts" / "migrations" / "0999_broken.py"
    latest = max(path.stem for path in broken.parent.glob("0*.py"))
    broken.write_text(BROKEN_MIGRATION.format(latest=latest))
    ended = machine.run(SCRIPT)
    broken.unlink()
    assert ended.code == 1
    assert "✗ Apply migrations failed: A migration failed, and was rolled back." in ended.text
    assert "this_is_no_column" in ended.text
    assert "Nothing was changed.\nThe previous release keeps running." in ended.text
    assert "ops/deploy/restore_postgres.sh --backup-file homerack_" in ended.text
    assert machine.inspect("homerack-web")["Image"] == before
    assert health(machine) == HEALTHY
    assert machine.query("SELECT to_regclass('half_done') IS NULL") == "t"


def test_interrupted_upgrade_rolls_back(machine: Machine) -> None:
    before = machine.inspect("homerack-web")["Image"]
    machine.folder.joinpath("homerack", "newest.py").write_text('"""The newest release."""\n')
    ended = machine.interrupt(SCRIPT, "--skip-backup", after="▸ Verify: HomeRack runs on PostgreSQL")
    assert ended.code == 1
    assert "failed: Interrupted." in ended.text
    assert "- front, web, worker and beat were started from the new images" in ended.text
    assert "The previous image runs again and is healthy." in ended.text
    assert machine.inspect("homerack-web")["Image"] == before


def as_superuser(machine: Machine, role: str, sql: str, database: str = "homerack") -> None:
    machine.docker("exec", "homerack-postgres", "psql", "-qv", "ON_ERROR_STOP=1", "-U", role, "-d", database, "-c", sql)


def test_volume_with_superuser_role_gets_an_ordinary_role(machine: Machine) -> None:
    """A volume of an earlier version: the bootstrap superuser is `homerack`, and owns everything."""
    databases = machine.query("SELECT datname FROM pg_database WHERE datdba = 'homerack'::regrole").split()
    as_superuser(machine, "postgres", "CREATE ROLE temporary SUPERUSER LOGIN")
    for name in databases:
        as_superuser(machine, "temporary", "REASSIGN OWNED BY homerack TO postgres", name)
    secret = machine.value_of("POSTGRES_PASSWORD")
    renamed = f"DROP ROLE homerack; ALTER ROLE postgres RENAME TO homerack; ALTER ROLE homerack PASSWORD '{secret}'"
    as_superuser(machine, "temporary", renamed)
    as_superuser(machine, "homerack", "DROP ROLE temporary")
    assert machine.query("SELECT rolsuper FROM pg_roles WHERE rolname = current_user") == "t"
    ended = machine.run(SCRIPT, "--skip-backup")
    assert ended.code == 0, ended.text
    assert machine.query("SELECT rolname FROM pg_roles WHERE rolsuper") == "postgres"
    assert machine.query("SELECT count(*) FROM pg_database WHERE datdba = 'homerack'::regrole") == str(len(databases))
    TestRoles().test_role_of_the_site_is_ordinary_and_owns_its_database(machine)
    assert machine.query("SELECT count(*) FROM devices") == "60"


@pytest.mark.parametrize(
    ("changes", "port"), [({"HTTPS": "false"}, "http_port"), ({"FRONT": "own", "HTTPS": "false"}, "web_port")]
)
def test_plain_http_and_own_proxy_are_served(machine: Machine, changes: dict[str, str], port: str) -> None:
    machine.configure(**changes)
    ended = machine.run(SCRIPT, "--skip-backup", "--skip-migration")
    assert ended.code == 0, ended.text
    page = machine.run(
        "curl", "-sf", "-H", "Host: homerack.test", f"http://127.0.0.1:{getattr(machine, port)}/admin/login/"
    )
    machine.configure()
    again = machine.run(SCRIPT, "--skip-backup", "--skip-migration")
    assert again.code == 0, again.text
    assert "csrfmiddlewaretoken" in page.text


def test_elsewhere_file_reaches_the_same_database(machine: Machine) -> None:
    """docker-compose.elsewhere.yml with the addresses of the first host's containers."""
    secrets = {name: machine.value_of(name) for name in ("POSTGRES_PASSWORD", "REDIS_PASSWORD")}
    machine.configure(
        DATABASE_URL=f"postgres://homerack:{secrets['POSTGRES_PASSWORD']}@homerack-postgres:5432/homerack?sslmode=prefer",
        REDIS_URL=f"redis://:{secrets['REDIS_PASSWORD']}@homerack-redis:6379/0",
    )
    report = ("python", "manage.py", "check_database", "--json")
    files = ("-f", "docker-compose.elsewhere.yml")
    ended = machine.compose(*files, "run", "--rm", "--no-deps", "-T", "web", *report)
    machine.configure()
    assert ended.code == 0, ended.text
    assert '"worker": {\n      "status": "healthy"' in ended.text


def test_broken_image_is_rolled_back(machine: Machine) -> None:
    before = machine.inspect("homerack-web")["Image"]
    program = machine.folder.joinpath("homerack", "wsgi.py")
    text = program.read_text()
    program.write_text('raise RuntimeError("broken on purpose")\n')
    ended = machine.run(SCRIPT, "--skip-backup")
    program.write_text(text)
    assert ended.code == 1
    assert "✗ Verify: HomeRack runs on PostgreSQL failed" in ended.text
    assert "broken on purpose" in machine.folder.joinpath("deploy.log").read_text()
    assert "The previous image runs again and is healthy." in ended.text
    assert machine.inspect("homerack-web")["Image"] == before
    assert health(machine) == HEALTHY
    assert machine.query("SELECT count(*) FROM devices") == "60"
