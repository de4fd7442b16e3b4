"""The spool that replicas share: PostgreSQL. Imported only where the settings ask for it."""
