"""Starts the PostgreSQL server of a test run before Django reads its settings, and stops it at the end."""

import gc
import os
import signal
import tempfile

import pytest

from tests.support import forked
from tests.support.postgres import PostgresServer

servers: list[PostgresServer] = []
MEMORY = "/dev/shm"
ROOM = 2 * 1024**3
"""Bytes that a run may need in its temporary directory."""


def keep_files_in_memory() -> None:
    """Let the run's temporary directory be in memory, where there is room: it writes much, and keeps nothing."""
    if "TMPDIR" in os.environ or not os.access(MEMORY, os.W_OK):
        return
    found = os.statvfs(MEMORY)
    if found.f_bavail * found.f_frsize >= ROOM and not found.f_flag & os.ST_NOEXEC:
        os.environ["TMPDIR"] = tempfile.tempdir = MEMORY


def heed_signals() -> None:
    """A shell's background jobs ignore SIGINT, programs under nohup SIGHUP, and so do the programs that they start."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Point Django at a fresh server. Workers of pytest-xdist inherit the address of the one that started them."""
    heed_signals()
    os.environ["SECRET_KEY"] = "only-for-tests-" + "0123456789" * 5
    # What `make run` has written into a .env of this checkout would be there as well.
    os.environ |= dict.fromkeys(("BACKUP_SIGNING_KEY", "BACKUP_AGE_IDENTITY", "BACKUP_AGE_RECIPIENTS"), "")
    os.environ["DEBUG"] = "false"
    os.environ["HTTPS"] = "false"
    if "PYTEST_XDIST_WORKER" in os.environ:
        return
    keep_files_in_memory()
    # The programs that tests start would compile all modules again.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    server = PostgresServer.start(auth="md5")
    servers.append(server)
    os.environ["DATABASE_URL"] = server.url("homerack")
    os.environ["PG_BIN"] = str(server.binaries)
    if getattr(early_config.known_args_namespace, "numprocesses", None):
        os.environ[forked.SOCKET] = forked.launch()


# Django and the tests are imported without it.
gc.disable()


def pytest_collection_finish() -> None:
    """Garbage collection need not look at the tests themselves again and again, nor after every few hundred objects."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 10)
    gc.enable()


def pytest_unconfigure() -> None:
    while servers:
        servers.pop().stop()
