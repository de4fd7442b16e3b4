"""Measurements, side by side in one run. See bench/README.md; nothing here is part of the package."""
