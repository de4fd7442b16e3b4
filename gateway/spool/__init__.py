"""The spool: a notification is durable here before Meta hears 200, and stays until all of it has left."""
