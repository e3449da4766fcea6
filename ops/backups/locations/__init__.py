"""Other storage locations: what is configured, what is known of their copies, and how backups are copied there."""
