"""HomeRack with the demo lab, for pictures."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.postgres import free_port
from tests.support.web import SESSION_KEY

ROOT = Path(__file__).resolve().parents[2]
ADMINISTRATOR = "ada@example.com"
PASSWORD = "a-password-for-pictures"
START = f"""
from homerack.accounts.models import User
User.objects.create_superuser("{ADMINISTRATOR}", "{PASSWORD}")
"""


@dataclass
class PictureSite:
    """A site with the demo lab in `folder`. `settings` are environment variables."""

    folder: Path
    settings: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
        own = {
            "DATABASE_URL": f"sqlite:///{self.folder}/homerack.db",
            "BACKUP_DIR": str(self.folder / "backups"),
            "BACKUP_SIGNING_KEY": "signs-the-backups-in-the-pictures-" * 2,
            "SECRET_KEY": "of-the-site-in-the-pictures-" * 2,
            "DEBUG": "true",
            "HTTPS": "false",
            "REDIS_URL": "",
            "TIME_ZONE": "Europe/Berlin",
            "TZ": "UTC",
        }
        return kept | own | self.settings

    def manage(self, *arguments: str) -> str:
        command = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(command, cwd=ROOT, env=self.environment(), capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"manage.py {arguments[0]} failed:\n{done.stdout}{done.stderr}")
        return done.stdout

    def shell(self, code: str) -> str:
        return self.manage("shell", "--no-imports", "--command", code)

    def prepare(self) -> None:
        self.manage("migrate", "--verbosity", "0")
        self.manage("load_demo")
        self.shell(START)

    def session(self) -> str:
        return self.shell(SESSION_KEY.format(ADMINISTRATOR)).strip()

    @contextlib.contextmanager
    def served(self) -> Iterator[None]:
        command = [sys.executable, "-u", "manage.py", "serve", "--port", str(self.port)]
        log = self.folder / "serve.log"
        with log.open("wb") as output:
            process = subprocess.Popen(command, cwd=ROOT, env=self.environment(), stdout=output, stderr=output)
        try:
            while "HomeRack is at" not in log.read_text():
                if process.poll() is not None:
                    sys.exit(f"The site did not start:\n{log.read_text()}")
                time.sleep(0.1)
            yield
        finally:
            process.terminate()
            process.wait()
