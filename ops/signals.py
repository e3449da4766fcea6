"""What ops tells the project."""

from django.dispatch import Signal

database_restored = Signal()
"""A restored database is about to replace the live one, and is "default" while receivers are called.

They get `description` (what is restored) and `requested_by` (a username, or user@host of a command). What they write
is live if the restore succeeds. An error of a receiver is logged, and does not stop the restore.
"""
