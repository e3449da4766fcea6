"""Moving a project's SQLite file to PostgreSQL, all or nothing, and proving that the content arrived."""
