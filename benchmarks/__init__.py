"""What the library costs and gains, measured against bare confluent_kafka."""
