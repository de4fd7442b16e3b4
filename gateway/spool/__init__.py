"""The spool: where a notification is durable before Meta hears 200, and stays until every delivery has left."""
