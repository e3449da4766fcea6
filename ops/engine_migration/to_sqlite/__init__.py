"""Migrates a PostgreSQL database to a new SQLite file."""
