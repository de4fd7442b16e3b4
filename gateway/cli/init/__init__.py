"""`gateway init`, and the configurations that it writes."""
