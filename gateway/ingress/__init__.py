"""The way of a notification from a request to the spool: the acknowledgement path."""
