"""What a process has one of: poller, reaper, workers, and the registry."""
