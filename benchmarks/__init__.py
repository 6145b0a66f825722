"""Benchmarks: what the library costs and gains, compared to bare confluent_kafka."""
