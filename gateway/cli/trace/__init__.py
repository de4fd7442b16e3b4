"""`gateway trace`: asking, and telling the way of one notification."""
