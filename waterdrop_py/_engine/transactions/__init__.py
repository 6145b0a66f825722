"""Transactions of a producer, one at a time: begin, commit or abort, offsets."""
