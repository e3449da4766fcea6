"""Runs web, worker, beat and, without REDIS_URL, a Redis as the processes of one command."""
