"""``python`` without the seconds that Django takes to start: each program is a fork of one process that has started.

Run with the path of a socket, see `tests.support.forked`. A connection is one program: a JSON object (arguments,
environment, directory, where to stop, and so on, see `Process` there) comes with the three files that become the
program's own; its process number goes back, and in the end its exit code.
"""

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import resource
import runpy
import select
import signal
import socket
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

import axes.conf
import django
from django.conf import Settings, settings
from django.core.files.storage import storages
from django.core.management import execute_from_command_line, get_commands, load_command_class
from django.db import connections

from ops.databases.migration_state import migrations_in_code
from ops.management import handlers
from tests.support.postgres import die_with_parent

REQUEST = 1 << 17
IMPORTED = (
    *("homerack.postgresql.base", "homerack.postgresql.pool", "sqlalchemy.pool", "encodings.idna"),
    *("health_check.base", "ops.checks", "ops.schedules.beat", "ops.tasks"),
    *("django.core.management.commands.migrate", "django.core.management.commands.shell", "django.core.wsgi"),
    *("celery.bin.celery", "celery.apps.beat", "celery.apps.worker", "celery.worker.consumer", "celery.fixups.django"),
    *("celery.app.control", "celery.app.events", "celery.app.log", "celery.contrib.django.task"),
    *("celery.concurrency.prefork", "celery.backends.redis", "celery.worker.components", "kombu.transport.redis"),
    *("gunicorn.app.wsgiapp", "gunicorn.glogging", "homerack.web.gunicorn_worker"),
)
"""Modules that most programs, workers, beat or gunicorn import."""


def main(path: str) -> None:
    gc.disable()
    django.setup()
    for command, app in get_commands().items():
        if app in {"ops", "homerack"}:
            load_command_class(app, command)
    handled = (handler.name for handler in pkgutil.iter_modules(handlers.__path__, f"{handlers.__name__}."))
    middleware = (name.rpartition(".")[0] for name in settings.MIDDLEWARE)
    for module in (settings.ROOT_URLCONF, *IMPORTED, *handled, *middleware):
        importlib.import_module(module)
    migrations_in_code()
    # Garbage collection in a fork would copy all of this process.
    gc.collect()
    gc.freeze()
    gc.enable()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{path}.new")
    listener.listen(50)
    # Who finds the socket may connect.
    Path(f"{path}.new").rename(path)
    serve(listener)


def serve(listener: socket.socket) -> None:
    """Start a program for each connection, and send its exit code when it has ended."""
    programs: dict[int, socket.socket] = {}
    ended, signalled = socket.socketpair()
    for end in (ended, signalled):
        end.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(signalled.fileno(), warn_on_full_buffer=False)
    while True:
        ready, _, _ = select.select([listener, ended], [], [])
        if ended in ready:
            ended.recv(REQUEST)
            while programs and (found := os.waitpid(-1, os.WNOHANG))[0]:
                pid, status = found
                with programs.pop(pid) as connection, contextlib.suppress(OSError):
                    connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
        if listener in ready:
            connection, _ = listener.accept()
            request, files, _, _ = socket.recv_fds(connection, REQUEST, 3)
            pid = os.fork()
            if not pid:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for other in (listener, ended, signalled, connection, *programs.values()):
                    other.close()
                become(json.loads(request), files)
            for file in files:
                os.close(file)
            programs[pid] = connection
            with contextlib.suppress(OSError):
                connection.sendall(f"{pid}\n".encode())


def become(request: dict[str, Any], files: list[int]) -> None:
    """Be that program to the end, with files, an environment and settings of its own."""
    code = 1
    try:
        die_with_parent()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.setsid()
        os.chdir(request["directory"])
        for number, file in enumerate(files):
            os.dup2(file, number)
            os.close(file)
        sys.stdin, sys.stdout, sys.stderr = (os.fdopen(number, "rw"[number > 0], buffering=1) for number in range(3))
        os.environ.clear()
        os.environ.update(request["environment"])
        tempfile.tempdir = None
        warnings.simplefilter("error")
        read_settings_again()
        replay_migrations(request["statements"])
        stop_at(request["stop_at"])
        for name, value in request["constants"].items():
            module, _, constant = name.rpartition(".")
            setattr(importlib.import_module(module), constant, value)
        if request["umask"] is not None:
            os.umask(request["umask"])
        if limit := request["largest_file"]:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        run(request["arguments"])
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        if isinstance(ended.code, str):
            sys.stderr.write(f"{ended.code}\n")
    except BaseException as error:  # noqa: BLE001  # reported as an interpreter does
        traceback.print_exc()
        if isinstance(error, KeyboardInterrupt):
            code = -signal.SIGINT
    sys.stdout.flush()
    sys.stderr.flush()
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def run(arguments: list[str]) -> None:
    """``python *arguments``."""
    kind, *rest = arguments
    if kind == "-c":
        code, *rest = rest
        sys.argv = ["-c", *rest]
        exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
    elif kind == "-m":
        sys.argv = rest
        # The warnings of other people's programs are not ours to end them.
        warnings.simplefilter("default")
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        assert kind == "manage.py", kind
        sys.argv = arguments
        execute_from_command_line(sys.argv)


def read_settings_again() -> None:
    """From the environment, as they are read at the start of any process."""
    name = os.environ["DJANGO_SETTINGS_MODULE"]
    for module in dict.fromkeys(("homerack.settings", "tests.settings", name)):
        importlib.reload(importlib.import_module(module))
    settings.__dict__.clear()
    settings._wrapped = Settings(name)
    # It puts its defaults into the settings when it is imported.
    importlib.reload(axes.conf)
    # As new: they keep what they have read, and the connection that Django's start has made.
    vars(connections).clear()
    connections.__init__()  # type: ignore[misc]
    vars(storages).clear()
    storages.__init__()  # type: ignore[misc]


def replay_migrations(statements: str) -> None:
    """Let the program create tables by the `statements` in this folder, if any."""
    if statements:
        from tests.support.replayed_migrations import replay_in_this_program  # noqa: PLC0415  # as below

        replay_in_this_program(Path(statements))


def stop_at(points: str) -> None:
    """Stop, as by SIGSTOP, at the first report of each stage in `points` (``load,dump``).

    Or once a restore is ``in place``; or once the backup of the previous database is ``published``.
    """
    from ops.backups.engines.postgresql.database_swap import DatabaseSwap  # noqa: PLC0415
    from ops.management.progress import ProgressReporter  # noqa: PLC0415
    from ops.runs.recorder import RunRecorder  # noqa: PLC0415  # models want Django to be set up

    report = ProgressReporter.__call__

    ahead = points.split(",")

    def stopping(self: Any, progress: Any) -> None:
        report(self, progress)
        if progress.stage in ahead:
            ahead.remove(progress.stage)
            # The thread that writes the run's row must not be stopped while it has SQLite's lock.
            time.sleep(1 if connections["default"].vendor == "sqlite" else 0)
            os.kill(os.getpid(), signal.SIGSTOP)

    if points == "in place":
        RunRecorder.mark_applied = lambda _self: os.kill(os.getpid(), signal.SIGSTOP)  # type: ignore[method-assign]
    elif points == "published":
        DatabaseSwap.mark_backed_up = lambda _self: os.kill(os.getpid(), signal.SIGSTOP)  # type: ignore[method-assign]
    elif points:
        ProgressReporter.__call__ = stopping  # type: ignore[method-assign]


if __name__ == "__main__":
    main(sys.argv[1])
