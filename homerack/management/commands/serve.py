"""``manage.py serve``, the command behind ``make run``: all of HomeRack in one terminal."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

from homerack.serve import services
from homerack.serve.runtime_dir import AlreadyRunning, runtime_dir, socket_path
from homerack.serve.supervisor import ServiceEnded, Supervisor
from ops.databases.migration_state import applied_migrations, migration_skew
from ops.utils.printable import printable

COLOURS = {"web": "36", "worker": "32", "beat": "35", "redis": "34"}


class Command(BaseCommand):
    help = (
        "Run the site, the worker and the scheduler until Ctrl-C, with an embedded Redis unless REDIS_URL is set. "
        "A service that ends is started again. When one ends at its first start, all are stopped, with exit code 1."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
        parser.add_argument("--port", type=int, default=8000, help="port to listen on (default: %(default)s)")

    def handle(self, *_args: Any, host: str, port: int, **_options: Any) -> None:
        self.require_migrations()
        self.require_port(host, port)
        address = f"http://{host}:{port}/"
        label = f"at {address} by process {os.getpid()}"
        try:
            with signals_as_interrupt(), self.environment(label) as (environment, redis):
                self.supervise(environment, [*redis, *all_services(host, port)], address)
        except KeyboardInterrupt:
            self.stdout.write("HomeRack has stopped.")
        except AlreadyRunning as error:
            message = (
                f"This database is already served {error}; two schedulers would start every backup twice. "
                f"Nothing was started. Stop the other process, or set another DATABASE_URL."
            )
            raise CommandError(message) from error
        except ServiceEnded as error:
            message = (
                f"{error} All other services were stopped. The output above shows the reason. "
                "Start again with: make run"
            )
            raise CommandError(message) from error

    def require_migrations(self) -> None:
        """The scheduler reads its tables as soon as it starts."""
        missing = migration_skew(applied_migrations(connections["default"])).pending
        connections.close_all()
        if missing:
            message = f"{len(missing)} migrations are not applied. Nothing was started. Run: manage.py migrate"
            raise CommandError(message)

    def require_port(self, host: str, port: int) -> None:
        try:
            is_free = services.is_free(host, port)
        except (OSError, OverflowError) as error:
            raise CommandError(f"The site cannot listen on {host}:{port} ({error}). Nothing was started.") from error
        if not is_free:
            raise CommandError(f"Port {port} is in use. Nothing was started. Try another: make run PORT={port + 1}")

    @contextlib.contextmanager
    def environment(self, label: str) -> Iterator[tuple[dict[str, str], list[services.Service]]]:
        """The environment of the services, and the Redis to start for them, if any."""
        environment = os.environ | {"DJANGO_RUNSERVER_HIDE_WARNING": "true"}
        folder = runtime_dir(Path(settings.BASE_DIR) / ".run", settings.DATABASES["default"], label=label)
        with folder as private, socket_path(private) as path:
            if settings.REDIS_URL:
                yield environment, []
            else:
                yield environment | {"REDIS_URL": f"unix://{path}"}, [services.embedded_redis(path)]

    def supervise(self, environment: dict[str, str], to_start: list[services.Service], address: str) -> None:
        supervisor = Supervisor(environment=environment, write=self.write_line)
        try:
            for service in to_start:
                supervisor.start(service)
                if service.name == "redis":
                    supervisor.wait_until_ready(service)
            supervisor.wait_until_ready(*to_start)
            self.stdout.write(f"HomeRack is at {address} (stop it with Ctrl-C)")
            supervisor.watch()
        finally:
            supervisor.stop()

    def write_line(self, name: str, line: str) -> None:
        with contextlib.suppress(BrokenPipeError):
            self.stdout.write(f"{self.prefix(name)}{printable(line)}")

    def prefix(self, name: str) -> str:
        if not name:
            return ""
        shown = f"{name:<6} |"
        return f"\x1b[{COLOURS[name]}m{shown}\x1b[0m " if self.stdout.isatty() else f"{shown} "


def all_services(host: str, port: int) -> list[services.Service]:
    return [services.worker(), services.beat(), services.web(host=host, port=port, reloads=settings.DEBUG)]


@contextlib.contextmanager
def signals_as_interrupt() -> Iterator[None]:
    """Raise KeyboardInterrupt on SIGTERM and SIGHUP too, and on SIGINT even where a shell has set it to be ignored."""
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # started by nohup
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, signal.default_int_handler) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
