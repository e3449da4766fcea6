"""PostgreSQL's part of backups and restores: dumps by pg_dump, read and loaded by ourselves instead of psql."""
