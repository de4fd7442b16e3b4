"""`gateway completion`, and what a shell proposes then."""
