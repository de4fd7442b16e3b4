"""`gateway targets`: listing, pausing, resuming, giving up."""
