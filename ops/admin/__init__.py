"""The pages of the database in Django's admin. Django imports this package to find the admin classes."""

from ops.admin import backups, runs

__all__ = ["backups", "runs"]
