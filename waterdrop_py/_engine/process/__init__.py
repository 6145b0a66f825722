"""What a process has one of: its threads, and the registry of connections."""
