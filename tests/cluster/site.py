"""HomeRack in gunicorn as in production, on the database of a cluster, and a user who is signed in."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from tests.support import forked
from tests.support.web import SESSION_KEY, WebServer, send_request

PROCESSES = 2
USER = "ada@example.com"
CREATE_USER = f"""
from homerack.accounts.models import User
if not User.objects.filter(email="{USER}").exists():
    User.objects.create_superuser("{USER}", "a-password-of-the-tests")
"""
CSRF_TOKEN = "c" * 32
BRANDS = "/admin/inventory/brand/"
PAGE = "/admin/inventory/devicetype/"
"""A list without rows: a long one would take the time of the machine that the cluster needs."""


@dataclass
class Site:
    web: WebServer
    environment: dict[str, str]
    """Of the site and its commands, on top of that of the tests."""
    session: str

    @classmethod
    def start(cls, url: str, folder: Path, **settings: str) -> "Site":
        """Migrate the database at `url`, create a user, sign in, and start gunicorn. Backups are kept in `folder`.

        `settings` are further variables of the environment.
        """
        environment = {
            "DATABASE_URL": url,
            "DJANGO_SETTINGS_MODULE": "tests.cluster.settings",
            "DEBUG": "false",
            "HTTPS": "false",
            "REDIS_URL": "",
            "BACKUP_DIR": str(folder / "backups"),
            "WEB_CONCURRENCY": str(PROCESSES),
            **settings,
        }
        manage(environment, "migrate", "--verbosity", "0")
        printed = manage(environment, "shell", "--no-imports", "--command", CREATE_USER + SESSION_KEY.format(USER))
        return cls(web=WebServer.start(umask=None, **environment), environment=environment, session=printed.split()[-1])

    def stop(self) -> None:
        self.web.stop()

    def manage(self, *arguments: str) -> str:
        """What a command of ``manage.py`` prints, which must succeed."""
        return manage(self.environment, *arguments)

    def get(self, path: str) -> tuple[int, str]:
        """Status of a page, and the path to which it redirects."""
        return self.send("GET", path)

    def add_brand(self, token: str) -> tuple[int, str]:
        """Save the form of a new brand with the name `token`."""
        # Fields of the form that are not sent are empty.
        fields = {"name": token, "slug": token, "csrfmiddlewaretoken": CSRF_TOKEN}
        return self.send("POST", f"{BRANDS}add/", urlencode(fields))

    def send(self, method: str, path: str, body: str = "") -> tuple[int, str]:
        headers = {"Cookie": f"sessionid={self.session}; csrftoken={CSRF_TOKEN}"}
        if body:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        status, received, _ = send_request(self.web.port, method, path, body=body, headers=headers)
        return status, received.get("Location", "")


def manage(environment: dict[str, str], *arguments: str) -> str:
    done = forked.run(["manage.py", *arguments], env=os.environ | environment)
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, arguments, done.stdout, done.stderr)
    return done.stdout
