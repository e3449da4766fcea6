"""Running web, worker, beat and, where none is named, a Redis as the processes of one command."""
