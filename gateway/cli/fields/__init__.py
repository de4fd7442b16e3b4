"""`gateway fields`, and docs/fields.md that says the same."""
