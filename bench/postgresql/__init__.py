"""The spool on PostgreSQL beside the one on SQLite. Run: `python -m bench.postgresql`."""
