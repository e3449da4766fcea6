"""Health checks of the database and of what the site depends on, with one deadline."""
