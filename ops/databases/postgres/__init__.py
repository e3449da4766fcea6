"""PostgreSQL: connections, whole databases, client programs, indexes and keys."""
