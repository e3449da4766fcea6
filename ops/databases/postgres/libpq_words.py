"""libpq's words for what keeps a client from the server. They are in English, because Python does not set the locale of
messages. Without imports: a site on SQLite does not load psycopg2.
"""

NOT_WRITABLE = ("session is read-only", "server is in hot standby mode")
"""A server that ``target_session_attrs`` refuses."""
NAME_NOT_RESOLVED = "could not translate host name"
CLOSED_BY_SERVER = "server closed the connection unexpectedly"
NOTHING_RECEIVED = "could not receive data from server"
