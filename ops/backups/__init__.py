"""Backups that are verified against their snapshot, and restores that can be undone."""
