"""One librdkafka client: construction, counters, poll lock, waiters, watchers."""
