"""How long commands take to start: ``--help`` as a whole process, against `django-admin help` in an empty project."""

import sys
from functools import partial
from pathlib import Path

from bench.lab_file import environment
from bench.measuring import Program, measure
from bench.results import Results, Sample
from bench.session import Session

COMMANDS = ("backup_database", "restore_database", "migrate_to_postgres", "check_database", "list_backups")
DJANGO = "Django: `manage.py help` in an empty project"
RUNS = 5
"""Of each, in each round: a start is short."""


def run(session: Session, results: Results) -> None:
    project = session.folder / "empty"
    project.mkdir()
    measure([sys.executable, "-m", "django", "startproject", "empty", str(project)], environment("sqlite://:memory:"))
    commands = {f"`manage.py {name} --help`": name for name in (COMMANDS[:1] if session.tiny else COMMANDS)}
    programs: dict[str, Program] = {
        title: partial(start_command, name, session.folder) for title, name in commands.items()
    }
    programs[DJANGO] = lambda: start_empty_project(project)
    for program in programs.values():
        program()  # the first start compiles modules
    session.compare(results, programs, rounds=1 if session.tiny else session.rounds * RUNS)
    for title in commands:
        results.value(f"start of {title}", title, lambda sample: sample.seconds, unit="s", at_most=0.6)
    for title in commands:
        results.value(f"memory of {title}", title, lambda sample: sample.megabytes, unit="MB", at_most=60)
    for title in commands:
        results.ratio(title, DJANGO, name=f"start of {title} / Django in an empty project")


def start_command(name: str, folder: Path) -> Sample:
    env = environment(f"sqlite:///{folder}/start.sqlite3", settings="homerack.settings")
    return measure([sys.executable, "manage.py", name, "--help"], env)[0]


def start_empty_project(project: Path) -> Sample:
    env = environment("sqlite://:memory:", settings="empty.settings")
    return measure([sys.executable, str(project / "manage.py"), "help"], env)[0]
