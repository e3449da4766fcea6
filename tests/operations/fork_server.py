"""``manage.py`` without the seconds that Django takes to start: each command is a fork of one process that has started.

Run with the path of a socket. A connection is one command: a JSON object (arguments, environment, where to stop, the
largest file that it may write) comes with the
three files that become the command's own; its process number goes back, and in the end its exit code.
"""

import importlib
import json
import logging.config
import os
import resource
import signal
import socket
import sys
import time
import traceback
import warnings
from typing import Any

import axes.conf
import django
from django.conf import Settings, settings
from django.core.files.storage import storages
from django.core.management import execute_from_command_line, get_commands, load_command_class
from django.db import connections

REQUEST = 1 << 16


def main(path: str) -> None:
    django.setup()
    for command, app in get_commands().items():
        if app == "ops":
            load_command_class(app, command)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    while True:
        connection, _ = listener.accept()
        with connection:
            if not os.fork():
                listener.close()
                attend(connection)


def attend(connection: socket.socket) -> None:
    """Start the command, and wait for its end."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    request, files, _, _ = socket.recv_fds(connection, REQUEST, 3)
    pid = os.fork()
    if not pid:
        connection.close()
        become(json.loads(request), files)
    for file in files:
        os.close(file)
    connection.sendall(f"{pid}\n".encode())
    _, status = os.waitpid(pid, 0)
    connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def become(request: dict[str, Any], files: list[int]) -> None:
    """Be that command to the end, with files, an environment and settings of its own."""
    code = 70
    try:
        os.setsid()
        for number, file in enumerate(files):
            os.dup2(file, number)
            os.close(file)
        sys.stdin, sys.stdout, sys.stderr = (os.fdopen(number, "rw"[number > 0]) for number in range(3))
        sys.argv = ["manage.py", *request["arguments"]]
        os.environ.clear()
        os.environ.update(request["environment"])
        warnings.simplefilter("error")
        read_settings_again()
        stop_at(request["stop_at"])
        if limit := request["largest_file"]:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        execute_from_command_line(sys.argv)
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0
    except BaseException:  # noqa: BLE001  # it is told, as an interpreter does
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def read_settings_again() -> None:
    """From the environment, as they are read at the start of any process."""
    name = os.environ["DJANGO_SETTINGS_MODULE"]
    for module in ("homerack.settings", name):
        importlib.reload(importlib.import_module(module))
    settings.__dict__.clear()
    settings._wrapped = Settings(name)
    logging.config.dictConfig(settings.LOGGING)
    # It puts its defaults into the settings when it is imported.
    importlib.reload(axes.conf)
    # As new: they keep what they have read, and the connection that Django's start has made.
    vars(connections).clear()
    connections.__init__()  # type: ignore[misc]
    vars(storages).clear()
    storages.__init__()  # type: ignore[misc]


def stop_at(point: str) -> None:
    """Stop, as by SIGSTOP: at the first report of the stage `point`, or once a restore is ``in place``."""
    from ops.management.progress import ProgressReporter  # noqa: PLC0415
    from ops.runs.recorder import RunRecorder  # noqa: PLC0415  # models want Django to be set up

    told = ProgressReporter.__call__

    reached = []

    def telling(self: Any, report: Any) -> None:
        told(self, report)
        if report.stage == point and not reached:
            reached.append(point)
            # The thread that writes the run's row must not be stopped while it has SQLite's lock.
            time.sleep(1 if connections["default"].vendor == "sqlite" else 0)
            os.kill(os.getpid(), signal.SIGSTOP)

    if point == "in place":
        RunRecorder.mark_applied = lambda _self: os.kill(os.getpid(), signal.SIGSTOP)  # type: ignore[method-assign]
    elif point:
        ProgressReporter.__call__ = telling  # type: ignore[method-assign]


if __name__ == "__main__":
    main(sys.argv[1])
