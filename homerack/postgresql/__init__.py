"""A Django database backend: PostgreSQL through a bounded pool that replaces broken connections. Start at `base`."""
