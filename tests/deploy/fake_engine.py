"""A `docker` and a `curl` for tests of the scripts, which run no containers."""

import shutil
import time
from pathlib import Path

SITE = ("homerack-front", "homerack-web", "homerack-worker", "homerack-beat")
DATABASES = ("homerack-postgres", "homerack-redis")
CURL = """#!/bin/sh
echo '{"status": "healthy", "database_type": "postgresql", "checks": {"database": {"status": "healthy"}}}'
grep --quiet homerack-web "$(dirname "$0")/running"
"""


class FakeEngine:
    """The programs, and their state in `folder`: lists of names, the volumes, the calls, and what to answer."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for volume in ("uploads", "backups"):
            (folder / volume).mkdir(parents=True)
        shutil.copy(Path(__file__).with_name("fake_docker.sh"), folder / "docker")
        (folder / "curl").write_text(CURL)
        for name in ("docker", "curl"):
            (folder / name).chmod(0o755)
        (folder / "calls").touch()
        self.set_names("images", "homerack:current")
        self.set_names("containers", *SITE, *DATABASES)
        self.set_names("running", *SITE, *DATABASES)
        self.answer()

    def answer(
        self,
        *,
        users: str = "4",
        kibibytes: int = 9000,
        has_command: bool = True,
        file: str = "the rows",
        copied: str = "the rows",
        findings: str = "",
        fails: tuple[str, int] = ("", 0),
        slow: str = "",
    ) -> None:
        """Say what the programs in the containers do.

        `users`: the output of psql; if it is empty, psql fails. `file` is what the migration writes, and `copied` what
        is read of it. Calls that contain the word in `fails` exit with its code, and leave `findings`. Calls that
        contain `slow` take a second.
        """
        word, code = fails
        answers = {
            "users": users,
            "kibibytes": str(kibibytes),
            "has_command": "yes" if has_command else "no",
            "file": file,
            "copied": copied,
            "findings": findings,
            "fails": f"{word}:{code}\n",
            "slow": slow,
        }
        for name, text in answers.items():
            (self.folder / f"answer-{name}").write_text(text)

    def set_names(self, file: str, *names: str) -> None:
        """Write ``running``, ``containers`` or ``images``."""
        (self.folder / file).write_text("".join(f"{name}\n" for name in names))

    @property
    def running(self) -> set[str]:
        return {*(self.folder / "running").read_text().split()}

    @property
    def calls(self) -> list[str]:
        return [" ".join(line.split()) for line in (self.folder / "calls").read_text().splitlines()]

    @property
    def in_volumes(self) -> list[str]:
        """The names of all files and directories in the volumes."""
        return sorted(path.name for volume in ("uploads", "backups") for path in (self.folder / volume).rglob("*"))

    def wait_for(self, word: str) -> None:
        """Return when a call that contains `word` has begun."""
        deadline = time.monotonic() + 20
        while not any(word in call for call in self.calls):
            assert time.monotonic() < deadline, self.calls
            time.sleep(0.02)
