"""Meta's part, and the part of internal targets: what `gateway demo`, `gateway send` and the tests share."""
