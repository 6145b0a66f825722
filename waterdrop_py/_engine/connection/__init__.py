"""Whether a producer has an open client: opened on demand, closed when idle."""
