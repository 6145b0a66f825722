"""Whether a producer has an open client: open, disconnect when idle, replace."""
