"""The worker's module; tests/security/test_slow_clients.py tests what it does."""

import os
import subprocess
import sys


def test_module_can_be_imported_before_django_is_set_up() -> None:
    """gunicorn does, where DJANGO_SETTINGS_MODULE is not in the environment."""
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    command = [sys.executable, "-c", "import homerack.web.gunicorn_worker"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
