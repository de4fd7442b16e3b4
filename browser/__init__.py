"""The dashboard in a real browser: see README.md."""
