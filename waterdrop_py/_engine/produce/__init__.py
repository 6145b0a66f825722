"""From a message to librdkafka's queue: validation, sending, the buffer, retries."""
