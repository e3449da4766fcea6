"""PostgreSQL itself: addresses, whole databases, and the indexes and keys of tables."""
