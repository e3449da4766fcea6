"""SQLite files as wholes: opened with care, copied while others write, described, put in place of each other."""
