"""``manage.py dbshell``: psql with the options of the connection that Django does not pass on."""

from collections.abc import Iterable
from typing import Any

from django.db.backends.postgresql import client

VARIABLES = {
    "target_session_attrs": "PGTARGETSESSIONATTRS",
    "connect_timeout": "PGCONNECT_TIMEOUT",
    "hostaddr": "PGHOSTADDR",
}


class DatabaseClient(client.DatabaseClient):
    """Of several hosts, psql connects to the one that takes writes."""

    @classmethod
    def settings_to_cmd_args_env(
        cls, settings_dict: dict[str, Any], parameters: Iterable[str]
    ) -> tuple[list[str], dict[str, str] | None]:
        arguments, environment = super().settings_to_cmd_args_env(settings_dict, parameters)
        options = settings_dict.get("OPTIONS", {})
        ours = {variable: str(options[name]) for name, variable in VARIABLES.items() if name in options}
        return arguments, {**(environment or {}), **ours} or None
