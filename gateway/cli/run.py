def command() -> None:
    """Serve."""
