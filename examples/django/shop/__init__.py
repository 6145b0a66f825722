"""A shop whose orders go to Kafka."""
