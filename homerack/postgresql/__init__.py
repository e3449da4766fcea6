"""A Django database backend: PostgreSQL through a bounded pool that heals itself. Start at `base`."""
