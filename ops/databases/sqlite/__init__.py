"""SQLite files: opened safely, copied while other programs write, described and swapped."""
