"""A machine to deploy on: a copy of the project in its own directory, and the Docker engine of DOCKER_HOST."""

import json
import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tests.support.postgres import free_port

ROOT = Path(__file__).parent.parent.parent
SCRIPT = "ops/deploy/deploy_production.sh"
COPIED = (
    *("homerack", "ops", "templates", "front", "manage.py", "gunicorn.conf.py", "requirements.txt"),
    *(
        "Dockerfile",
        ".dockerignore",
        "docker-compose.prod.yml",
        "docker-compose.elsewhere.yml",
        "docker-compose.own-proxy.yml",
        ".env.production.example",
    ),
)
FILLED_IN = {
    "BACKUP_SIGNING_KEY": "signing-key-of-the-deployment-tests-0123456789",
    "BACKUP_AGE_IDENTITY": "AGE-SECRET-KEY-12Z5CCGYE8ZNT0M4MW3JHXLQX3KU3ZXHN3YKTR3YNJA8DQ77PSUCQVPAJZ6",
    "SECRET_KEY": "0123456789abcdef" * 4,
    "POSTGRES_PASSWORD": "database-password-of-a-test",
    "POSTGRES_SUPERUSER_PASSWORD": "superuser-password-of-a-test",
    "REDIS_PASSWORD": "broker-password-of-a-test",
    "ALLOWED_HOSTS": "homerack.test",
    "HTTPS": "true",
    "FRONT_BIND": "127.0.0.1",
    "COMPOSE_PROJECT_NAME": "homerack",
}


@dataclass(frozen=True)
class Ended:
    code: int
    text: str


class Machine:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.web_port, self.http_port, self.https_port, self.database_port = (free_port() for _ in range(4))
        self.environment_file = folder / ".env.production"
        for name in COPIED:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / name, folder / name)

    def configure(self, text: str = "", **changes: str) -> None:
        """Write .env.production: `text`, or everything that is needed with `changes`."""
        ports = {
            "WEB_PORT": self.web_port,
            "HTTP_PORT": self.http_port,
            "HTTPS_PORT": self.https_port,
            "POSTGRES_PORT": self.database_port,
        }
        values = FILLED_IN | ports | changes
        self.environment_file.write_text(text or "".join(f"{name}={value}\n" for name, value in values.items()))
        self.environment_file.chmod(0o600)

    def value_of(self, name: str) -> str:
        """A variable in .env.production."""
        return dict(line.split("=", 1) for line in self.environment_file.read_text().splitlines())[name]

    def run(self, *command: str) -> Ended:
        """Run a program of the project in a minimal environment, with both outputs in one text."""
        with self.start(*command) as process:
            try:
                text, _ = process.communicate()
            except BaseException:
                os.killpg(process.pid, signal.SIGINT)
                raise
        return Ended(process.returncode, text)

    def interrupt(self, *command: str, after: str) -> Ended:
        """Send SIGINT to the process group as soon as the program has written the line `after`."""
        with self.start(*command) as process:
            lines = []
            for line in process.stdout or ():
                lines.append(line)
                if line.strip() == after:
                    os.killpg(process.pid, signal.SIGINT)
        return Ended(process.returncode, "".join(lines))

    def start(self, *command: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env={name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "DOCKER_HOST"}},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def compose(self, *command: str) -> Ended:
        program = ("docker", "compose") if self.run("docker", "compose", "version").code == 0 else ("docker-compose",)
        return self.run(*program, "-f", "docker-compose.prod.yml", "--env-file", ".env.production", *command)

    def docker(self, *command: str) -> str:
        ended = self.run("docker", *command)
        assert ended.code == 0, ended.text
        return ended.text.strip()

    def inspect(self, container: str) -> dict[str, Any]:
        (found,) = json.loads(self.docker("inspect", container))
        return dict(found)

    def get(self, path: str) -> str:
        """The answer of the site to a client that trusts the authority of Caddy."""
        ended = self.curl(f"https://homerack.test:{self.https_port}{path}", "--fail")
        assert ended.code == 0, ended.text
        return ended.text

    def curl(self, url: str, *options: str) -> Ended:
        authority = self.folder / "authority.crt"
        if not authority.exists():
            path = "/var/lib/front/caddy/pki/authorities/local/root.crt"
            authority.write_text(self.docker("exec", "homerack-front", "cat", path))
        here = (f"homerack.test:{port}:127.0.0.1" for port in (self.https_port, self.http_port))
        resolved = [word for host in here for word in ("--resolve", host)]
        return self.run("curl", "--silent", "--max-time", "20", "--cacert", str(authority), *resolved, *options, url)

    def query(self, sql: str) -> str:
        return self.docker("exec", "homerack-postgres", "psql", "-q", "-U", "homerack", "-d", "homerack", "-tAc", sql)

    def remains(self) -> list[str]:
        """Containers, volumes and images of HomeRack on the engine."""
        return [
            *self.docker("ps", "--all", "--filter", "name=^homerack-", "--format", "{{.Names}}").split(),
            *self.docker("volume", "ls", "--filter", "name=^homerack-", "--format", "{{.Name}}").split(),
            *self.images(),
        ]

    def images(self) -> list[str]:
        named = self.docker("images", "--filter", "reference=homerack*", "--format", "{{.Repository}}:{{.Tag}}")
        return [name for name in named.split() if name.partition(":")[0] in {"homerack", "homerack-front"}]

    def clean(self) -> None:
        self.compose("down", "--volumes")
        if images := self.images():
            self.docker("rmi", *images)


LEGACY = ROOT.parent / "shared" / "data" / "legacy_lab.db"
"""A file of HomeRack 1.0.1 for the tests of a deployment; it is not part of the project."""


def skip_reason() -> str:
    """What the tests of a deployment lack on this machine, or an empty string."""
    if not engine_answers():
        return "no Docker engine answers"
    return "" if LEGACY.exists() else f"there is no {LEGACY}"


@cache
def engine_answers() -> bool:
    if not shutil.which("docker"):
        return False
    return subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0
