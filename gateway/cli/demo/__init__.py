"""`gateway demo`: the run, told plainly, as JSON or on a screen."""
