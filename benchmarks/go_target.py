"""go-fdo-server, unmodified, as its users run it: three roles, SQLite by default."""
