"""The settings of gunicorn; its command line takes precedence. WEB_CONCURRENCY is the number of processes."""

wsgi_app = "homerack.wsgi"
worker_class = "homerack.web.gunicorn_worker.ProbeAwareWorker"
threads = 8
# Workers share the code's memory. Connections are safe: a forked process leaves those of its parent alone.
preload_app = True
# Seconds that running requests have at a stop; docker stop kills after 10.
graceful_timeout = 8
# Files are sent as pages are, so that a slow client does not keep a thread.
sendfile = False
