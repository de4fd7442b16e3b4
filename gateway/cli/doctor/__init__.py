"""`gateway doctor`: what is looked at, and the report."""
