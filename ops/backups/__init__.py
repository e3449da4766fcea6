"""Backups that are compared with the snapshot they were taken from, and restores that can be undone."""
