"""Commands that play Meta: `gateway send` once, `gateway bench` at a rate."""
