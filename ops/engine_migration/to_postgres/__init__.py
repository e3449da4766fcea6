"""Migrates a SQLite file to PostgreSQL."""
