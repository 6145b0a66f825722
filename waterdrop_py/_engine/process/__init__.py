"""What a process has one of: runtime, poller, reaper, workers, fork guard."""
