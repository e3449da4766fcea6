"""PostgreSQL's own client programs: finding those that fit the server, and running them without telling secrets."""

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from psycopg2.extensions import make_dsn

from ops.conf import setting_name
from ops.databases.postgres.connection import APPLICATION, CONNECT_TIMEOUT, ConnectionInfo
from ops.errors import PreconditionFailed, ToolFailed
from ops.utils.environment import libpq_environment, minimal_environment

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
PIECE = 1 << 20
"""Bytes."""
LAST_LINES = 4
EXIT_TIMEOUT = 10
"""Seconds that a program gets to end after it was told to."""

Command = tuple[list[str], dict[str, str]]
"""Arguments, and what is put into the environment beside what the connection needs."""


@dataclass(frozen=True, kw_only=True)
class ClientPrograms:
    """A directory with pg_dump and pg_restore, and what they say of themselves: ``15.18``."""

    directory: Path
    version: str

    @property
    def major(self) -> int:
        return int(re.split(r"\D", self.version)[0])

    @property
    def order(self) -> tuple[int, ...]:
        return tuple(map(int, re.findall(r"\d+", self.version)))


def find_programs(major: int, directory: Path | None = None) -> ClientPrograms:
    """The newest programs of the server's `major` version: in `directory` if they are there, else on this machine.

    Raises PreconditionFailed with the package to install.
    """
    if directory and (tools := probe_directory(directory)) and tools.major == major:
        return tools
    found = [tools for place in candidates() if (tools := probe_directory(place))]
    if fitting := [tools for tools in found if tools.major == major]:
        return max(fitting, key=lambda tools: tools.order)
    others = ", ".join(sorted({f"{tools.version} in {tools.directory}" for tools in found}))
    raise PreconditionFailed(
        f"The server runs PostgreSQL {major}, and there is no pg_dump of that version on this machine"
        f" ({f'found: {others}' if others else 'found: none'}).",
        f"Install it: apt-get install postgresql-client-{major} (Debian), apk add postgresql{major}-client (Alpine),"
        f" dnf install postgresql{major} (Red Hat), brew install postgresql@{major} (macOS);"
        f" or name its directory in {setting_name('OPS_POSTGRES_BIN')}.",
    )


def candidates() -> Iterable[Path]:
    if on_path := shutil.which("pg_dump"):
        yield Path(on_path).resolve().parent
    for pattern in DIRECTORIES:
        yield from Path("/").glob(pattern)


def probe_directory(directory: Path) -> ClientPrograms | None:
    """What is in `directory`, or None. Debian's wrapper, which picks some version, does not count."""
    if not all(os.access(directory / name, os.X_OK) for name in PROGRAMS):
        return None
    if (directory / "pg_dump").resolve().name != "pg_dump":
        return None
    command = [str(directory / "pg_dump"), "--version"]
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        said = subprocess.run(
            command, env=minimal_environment(), capture_output=True, text=True, timeout=EXIT_TIMEOUT, check=False
        ).stdout
        if version := re.search(r"\(PostgreSQL\) (\d+\S*)", said):
            return ClientPrograms(directory=directory, version=version[1])
    return None


def connection_arguments(address: ConnectionInfo) -> Command:
    """How a client program reaches `address`. The password is in the environment only, which others can not read."""
    named = {"host": address.host, "port": address.port, "user": address.user, "dbname": address.database}
    options = {name: value for name, value in address.libpq_options().items() if name not in SECRET_OPTIONS}
    settings: dict[str, Any] = {"connect_timeout": CONNECT_TIMEOUT, **options}
    settings |= {name: value for name, value in named.items() if value}
    dsn = make_dsn(**{**settings, "application_name": APPLICATION})
    password = {"PGPASSWORD": address.password} if address.password else {}
    return ["--no-password", f"--dbname={dsn}"], {**libpq_environment(), "LC_ALL": "C", **password}


def dump_command(
    tools: ClientPrograms,
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
        str(tools.directory / "pg_dump"),
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


def plain_text_command(tools: ClientPrograms) -> Command:
    """pg_restore from a file of the custom format on standard input to plain text on standard output."""
    options = ["--file=-", "--no-owner", "--no-privileges", "--no-tablespaces"]
    return [str(tools.directory / "pg_restore"), *options], {"LC_ALL": "C"}


def output_of(call: Command, *, feed: IO[bytes] | None = None) -> Generator[bytes]:
    """What the program prints, in pieces; it reads `feed`, which is read to its end whatever the program takes of it.

    Ends only after the program has succeeded; raises ToolFailed otherwise. Closing the generator ends the program.
    """
    arguments, environment = call
    with tempfile.TemporaryFile() as complaints:
        process = subprocess.Popen(
            arguments,
            env=minimal_environment(**environment),
            stdin=subprocess.PIPE if feed else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=complaints,
        )
        feeder = StdinWriter(feed, process) if feed else None
        try:
            yield from iter(lambda: process.stdout.read(PIECE), b"")  # type: ignore[union-attr]
            code = process.wait()
            if feeder:
                feeder.finish()
            if code:
                raise tool_error(arguments[0], code, complaints, environment.get("PGPASSWORD", ""))
        finally:
            terminate(process)


class StdinWriter(threading.Thread):
    """Copies a stream to the standard input of a process."""

    def __init__(self, feed: IO[bytes], process: subprocess.Popen[bytes]) -> None:
        super().__init__(daemon=True)
        self.feed = feed
        self.process = process
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self.copy()
        except BaseException as error:  # noqa: BLE001  # it is raised where the output is read
            self.error = error
            self.process.kill()
        finally:
            with contextlib.suppress(OSError):
                self.process.stdin.close()  # type: ignore[union-attr]

    def copy(self) -> None:
        wanted = True
        while piece := self.feed.read(PIECE):
            if not wanted:
                continue
            try:
                self.process.stdin.write(piece)  # type: ignore[union-attr]
            except BrokenPipeError:
                wanted = False

    def finish(self) -> None:
        """Wait for the end of the stream. Raises what reading it raised."""
        self.join()
        if self.error:
            raise self.error


def terminate(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
    process.wait()
    if process.stdout:
        process.stdout.close()


def tool_error(program: str, code: int, complaints: IO[bytes], password: str) -> ToolFailed:
    complaints.seek(0)
    lines = complaints.read().decode(errors="replace").strip().splitlines()[-LAST_LINES:]
    words = " / ".join(line.strip() for line in lines) or "it said nothing"
    if password:
        words = words.replace(password, "***")
    ended = f"was ended by signal {-code}" if code < 0 else f"failed with exit code {code}"
    return ToolFailed(
        f"{Path(program).name} {ended}: {words.rstrip('.')}.",
        "The database is as it was. Run the command again; if it fails again, the server's log may tell more.",
    )
