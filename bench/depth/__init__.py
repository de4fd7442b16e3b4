"""What a million pending deliveries and a full duplicates window cost. Run: `python -m bench.depth`."""
