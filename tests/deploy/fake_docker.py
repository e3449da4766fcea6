"""A `docker` and a `curl` for tests of the scripts: containers are names in files, and commands run on this machine.

Installed by `FakeEngine`. The directory of the program has its state: ``running``, ``containers`` and ``images``
(one name in each line), ``uploads/`` and ``backups/`` (the volumes), ``calls``, ``answers.json`` (see `Answers`).
"""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

VOLUMES = "/var/lib/homerack"
SITE = ("homerack-front", "homerack-web", "homerack-worker", "homerack-beat")
DATABASES = ("homerack-postgres", "homerack-redis")
HEALTHY = '{"status": "healthy", "database_type": "postgresql", "checks": {"database": {"status": "healthy"}}}'


@dataclass
class Answers:
    """What the programs in the containers do."""

    users: str = "4"
    """The output of psql for the number of users; empty: psql fails."""
    kibibytes: str = "9000"
    has_command: bool = True
    file: str = "the rows"
    copied: str = "the rows"
    fails: dict[str, int] = field(default_factory=dict)
    """Exit codes of calls that contain a word."""
    findings: str = ""
    """The list that a call that fails leaves."""
    slow: str = ""
    """A word: calls that contain it take a second, but for signals."""


class FakeEngine:
    """The state of the programs, for tests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for volume in ("uploads", "backups"):
            (folder / volume).mkdir(parents=True)
        for name in ("docker", "curl"):
            program = folder / name
            program.write_text(f"#!{sys.executable} -IS\n{Path(__file__).read_text()}")
            program.chmod(0o755)
        self.set_running(*SITE, *DATABASES)
        (folder / "images").write_text("homerack:current\n")
        self.set_containers(*SITE, *DATABASES)
        (folder / "calls").touch()
        self.answer()

    def answer(self, **answers: object) -> None:
        (self.folder / "answers.json").write_text(json.dumps(asdict(Answers(**answers))))  # type: ignore[arg-type]

    def set_running(self, *names: str) -> None:
        (self.folder / "running").write_text("".join(f"{name}\n" for name in names))

    def set_containers(self, *names: str) -> None:
        (self.folder / "containers").write_text("".join(f"{name}\n" for name in names))

    @property
    def running(self) -> set[str]:
        return {*(self.folder / "running").read_text().split()}

    @property
    def calls(self) -> list[str]:
        return (self.folder / "calls").read_text().splitlines()

    def wait_for(self, word: str) -> None:
        """Return when a call that contains `word` has begun."""
        deadline = time.monotonic() + 20
        while not any(word in call for call in self.calls):
            assert time.monotonic() < deadline, self.calls
            time.sleep(0.02)

    @property
    def in_volumes(self) -> list[str]:
        return sorted(path.name for volume in ("uploads", "backups") for path in (self.folder / volume).rglob("*"))


class Program:
    """One call."""

    def __init__(self, folder: Path, words: list[str]) -> None:
        self.folder = folder
        self.words = words
        self.answers = Answers(**json.loads((folder / "answers.json").read_text()))

    def run(self) -> int:
        line = " ".join(" ".join(self.words).split())
        with (self.folder / "calls").open("a") as file:
            file.write(f"{line}\n")
        if self.answers.slow and self.answers.slow in line:
            time.sleep(1)
        for word, code in self.answers.fails.items():
            if word in line:
                sys.stderr.write(f"{word} fails\n")
                if self.answers.findings:
                    (self.folder / "backups" / "back-to-sqlite_20261130_findings.csv").write_text(self.answers.findings)
                return code
        return self.handle(*self.words)

    def names(self, file: str) -> list[str]:
        return (self.folder / file).read_text().split()

    def handle(self, verb: str, *rest: str) -> int:
        running = self.names("running")
        match verb, *rest:
            case "compose", *_:
                return self.compose(rest)
            case "image", "inspect", name:
                return 0 if name in self.names("images") else 1
            case "container", "inspect", "--format", _, name:
                print(str(name in running).lower())  # noqa: T201
            case "container", "inspect", name:
                return 0 if name in self.names("containers") else 1
            case "inspect", "--format", "{{.RestartCount}}", _:
                print("0")  # noqa: T201
            case "stop", *names:
                self.write_running([name for name in running if name not in names])
            case "start", *names:
                self.write_running([*running, *names])
            case "exec", "homerack-postgres", "psql", *_:
                return self.psql(rest[-1])
            case "run", *_:
                return self.inside(rest[rest.index("homerack:current") + 1 :])
        return 0

    def write_running(self, names: list[str]) -> None:
        (self.folder / "running").write_text("".join(f"{name}\n" for name in names))

    def compose(self, rest: tuple[str, ...]) -> int:
        return self.inside(list(rest[rest.index("web") + 1 :])) if "run" in rest else 0

    def psql(self, sql: str) -> int:
        print(self.answers.kibibytes if "pg_database_size" in sql else self.answers.users)  # noqa: T201
        return 0 if self.answers.users else 1

    def inside(self, command: list[str]) -> int:
        line = " ".join(command)
        if command[0] == "test":
            return 0 if self.answers.has_command else 1
        if "backup_database" in line:
            print('{"backup": "homerack_1.sql.gz"}')  # noqa: T201
        elif "migrate_to_sqlite" in line:
            path = Path(self.outside(command[-1]))
            path.parent.mkdir()
            path.write_text(self.answers.file)
            print("Done. 363 rows.")  # noqa: T201
        elif command[0] == "cat":
            sys.stdout.write(self.answers.copied)
        else:
            return subprocess.run([*map(self.outside, command)], check=False).returncode
        return 0

    def outside(self, path: str) -> str:
        return path.replace(VOLUMES, str(self.folder))


def main() -> int:
    # Dies from Ctrl-C as Docker's programs do, without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    folder = Path(sys.argv[0]).parent
    if os.path.basename(sys.argv[0]) == "curl":  # noqa: PTH119
        sys.stdout.write(HEALTHY)
        return 0 if "homerack-web" in (folder / "running").read_text() else 7
    return Program(folder, sys.argv[1:]).run()


if __name__ == "__main__":
    sys.exit(main())
