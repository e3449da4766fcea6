#!/usr/bin/env python
"""Django's command line for HomeRack."""

import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line

from homerack.history.change_sets import change_set
from homerack.history.entry_points import EntryPoint


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "homerack.settings")
    try:
        with change_set(EntryPoint.COMMAND, description=sys.argv[1] if len(sys.argv) > 1 else ""):
            execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        # A wrong variable is the operator's to mend: a sentence helps more than our call stack.
        sys.exit(f"{error}")


if __name__ == "__main__":
    main()
