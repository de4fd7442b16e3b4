"""The pure core: values in, values out. Time, jitter and ids come in as arguments."""
