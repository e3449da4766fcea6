"""Has Django find the admin classes, which are in `ops.console`."""

from ops.console import backups, runs

__all__ = ["backups", "runs"]
