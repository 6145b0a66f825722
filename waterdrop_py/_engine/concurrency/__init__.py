"""How threads lock, wait, wake up and start, also in signal handlers and finalizers."""
