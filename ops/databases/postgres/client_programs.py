"""PostgreSQL's client programs: found in the server's version, and run without exposing secrets."""

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from psycopg2.extensions import make_dsn

from ops.conf import setting_name
from ops.databases.postgres.connection import ConnectionInfo
from ops.databases.postgres.silence import Waiting
from ops.errors import PreconditionFailed, ToolFailed
from ops.utils.environment import libpq_environment, minimal_environment
from ops.utils.streams import blocks_of

PROGRAMS = ("pg_dump", "pg_restore")
DIRECTORIES = (
    "usr/lib/postgresql/*/bin",
    "usr/pgsql-*/bin",
    "usr/libexec/postgresql*",
    "usr/local/pgsql/bin",
    "usr/local/bin",
    "usr/local/opt/postgresql@*/bin",
    "opt/homebrew/opt/postgresql@*/bin",
)
SECRET_OPTIONS = frozenset({"password", "sslpassword"})
LAST_LINES = 4
VERSION_TIMEOUT = 10
"""Seconds."""

Command = tuple[list[str], dict[str, str]]
"""Arguments, and variables that are added to a minimal environment."""


@dataclass(frozen=True, kw_only=True)
class ClientPrograms:
    """A directory with pg_dump and pg_restore, and their version: ``15.18``."""

    directory: Path
    version: str

    @property
    def major(self) -> int:
        return int(re.split(r"\D", self.version)[0])

    @property
    def version_key(self) -> tuple[int, ...]:
        return tuple(map(int, re.findall(r"\d+", self.version)))


def find_programs(major: int, directory: Path | None = None) -> ClientPrograms:
    """The newest programs of the server's `major` version: in `directory` if they are there, else on this machine.

    Raises PreconditionFailed with the package to install.
    """
    found = list(installed(directory))
    matching = [programs for programs in found if programs.major == major]
    if not matching:
        raise PreconditionFailed(
            f"The server runs PostgreSQL {major}, and there is no pg_dump of that version on this machine"
            f" ({listed(found)}).",
            how_to_install(major),
        )
    return preferred(matching, directory)


def find_reader(major: int, directory: Path | None = None) -> ClientPrograms:
    """Programs of version `major` or later, whose pg_restore reads the files of all earlier versions.

    Those in `directory` if they are new enough, else the newest on this machine. Raises PreconditionFailed with the
    package to install.
    """
    found = list(installed(directory))
    matching = [programs for programs in found if programs.major >= major]
    if not matching:
        raise PreconditionFailed(
            f"The dump was made by pg_dump {major} or later, and there is no pg_restore of such a version on this"
            f" machine ({listed(found)}).",
            how_to_install(major),
        )
    return preferred(matching, directory)


def preferred(matching: Sequence[ClientPrograms], directory: Path | None) -> ClientPrograms:
    return max(matching, key=lambda programs: (programs.directory == directory, programs.version_key))


def listed(found: Iterable[ClientPrograms]) -> str:
    """For a sentence: ``found: 15.18 in /usr/lib/postgresql/15/bin``."""
    return f"found: {', '.join(sorted({f'{one.version} in {one.directory}' for one in found})) or 'none'}"


def how_to_install(major: int) -> str:
    return (
        f"Install it: apt-get install postgresql-client-{major} (Debian), apk add postgresql{major}-client (Alpine),"
        f" dnf install postgresql{major} (Red Hat), brew install postgresql@{major} (macOS);"
        f" or name its directory in {setting_name('OPS_POSTGRES_BIN')}."
    )


def installed(directory: Path | None) -> Iterator[ClientPrograms]:
    """All programs on this machine, and those in `directory`."""
    for path in dict.fromkeys([*([directory] if directory else []), *candidates()]):
        if programs := probe_directory(path):
            yield programs


def candidates() -> Iterable[Path]:
    if on_path := shutil.which("pg_dump"):
        yield Path(on_path).resolve().parent
    for pattern in DIRECTORIES:
        yield from Path("/").glob(pattern)


def probe_directory(directory: Path) -> ClientPrograms | None:
    """The programs in `directory`, or None. Debian's wrapper, which chooses a version, is ignored."""
    if not all(os.access(directory / name, os.X_OK) for name in PROGRAMS):
        return None
    if (directory / "pg_dump").resolve().name != "pg_dump":
        return None
    command = [str(directory / "pg_dump"), "--version"]
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        output = subprocess.run(
            command, env=minimal_environment(), capture_output=True, text=True, timeout=VERSION_TIMEOUT, check=False
        ).stdout
        if version := re.search(r"\(PostgreSQL\) (\d+\S*)", output):
            return ClientPrograms(directory=directory, version=version[1])
    return None


def connection_arguments(address: ConnectionInfo) -> Command:
    """How a client program reaches `address`. The password is in the environment, which other users cannot read."""
    dsn = make_dsn(**{name: value for name, value in address.parameters().items() if name not in SECRET_OPTIONS})
    password = {"PGPASSWORD": address.password} if address.password else {}
    return ["--no-password", f"--dbname={dsn}"], {**libpq_environment(), "LC_ALL": "C", **password}


def dump_command(
    programs: ClientPrograms,
    address: ConnectionInfo,
    *,
    custom: bool,
    snapshot: str,
    lock_wait: int,
    without_schemas: Sequence[str],
    without_rows: Sequence[str] = (),
) -> Command:
    """pg_dump of the exported `snapshot` to its standard output. `lock_wait` in milliseconds.

    `without_rows` are pg_dump's patterns of tables whose rows are left out.
    """
    where, environment = connection_arguments(address)
    arguments = [
        str(programs.directory / "pg_dump"),
        *where,
        *(["--format=custom", "--compress=1"] if custom else ["--format=plain"]),
        "--encoding=UTF8",
        "--no-owner",
        "--no-privileges",
        "--no-tablespaces",
        f"--snapshot={snapshot}",
        f"--lock-wait-timeout={lock_wait}",
        *(f"--exclude-schema={name}" for name in without_schemas),
        *(f"--exclude-table-data={pattern}" for pattern in without_rows),
    ]
    return arguments, environment


def plain_text_command(programs: ClientPrograms) -> Command:
    """pg_restore from a file of the custom format on standard input to plain text on standard output."""
    options = ["--file=-", "--no-owner", "--no-privileges", "--no-tablespaces"]
    return [str(programs.directory / "pg_restore"), *options], {"LC_ALL": "C"}


def output_of(
    command: Command, *, feed: Iterator[bytes] | None = None, waiting: Waiting | None = None
) -> Generator[bytes]:
    """The standard output of the program in chunks. `feed` is its standard input, and is read to its end in any case.

    Ends when the program has succeeded; raises ToolFailed otherwise. Closing the generator ends the program, and so
    does the silence of the server that it waits for.
    """
    arguments, environment = command
    waiting = waiting or Waiting()
    with tempfile.TemporaryFile() as stderr:
        process = subprocess.Popen(
            arguments,
            env=minimal_environment(**environment),
            stdin=subprocess.PIPE if feed else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
        )
        feeder = StdinWriter(feed, process) if feed else None
        try:
            with waiting.program(process):
                yield from blocks_of(process.stdout)  # type: ignore[arg-type]
            code = process.wait()
            if feeder:
                feeder.finish()
            if code:
                raise tool_error(arguments[0], code, stderr, environment.get("PGPASSWORD", ""), waiting.reason)
        finally:
            terminate(process)


class StdinWriter(threading.Thread):
    """Writes blocks of bytes to the standard input of a process."""

    def __init__(self, blocks: Iterator[bytes], process: subprocess.Popen[bytes]) -> None:
        super().__init__(daemon=True)
        self.blocks = blocks
        self.process = process
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self.copy()
        except BaseException as error:  # noqa: BLE001  # raised again by finish()
            self.error = error
            self.process.kill()
        finally:
            with contextlib.suppress(OSError):
                self.process.stdin.close()  # type: ignore[union-attr]

    def copy(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            for block in self.blocks:
                self.process.stdin.write(block)  # type: ignore[union-attr]
        # The end of the stream is read in any case.
        for _ in self.blocks:
            pass

    def finish(self) -> None:
        """Wait for the end of the stream. Raises the error of reading it."""
        self.join()
        if self.error:
            raise self.error


def terminate(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
    process.wait()
    if process.stdout:
        process.stdout.close()


def tool_error(program: str, code: int, stderr: IO[bytes], password: str, ended_because: str = "") -> ToolFailed:
    stderr.seek(0)
    lines = stderr.read().decode(errors="replace").strip().splitlines()[-LAST_LINES:]
    message = ended_because or " / ".join(line.strip() for line in lines) or "it printed nothing"
    if password:
        message = message.replace(password, "***")
    outcome = f"was ended by signal {-code}" if code < 0 else f"failed with exit code {code}"
    return ToolFailed(
        f"{Path(program).name} {outcome}: {message.rstrip('.')}.",
        "The database is unchanged. Run the command again; if it fails again, see the server's log.",
    )
