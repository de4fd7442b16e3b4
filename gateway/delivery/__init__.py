"""Handing deliveries to targets, and keeping what no target took."""
