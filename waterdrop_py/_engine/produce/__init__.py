"""From what a user wrote to librdkafka's queue."""
