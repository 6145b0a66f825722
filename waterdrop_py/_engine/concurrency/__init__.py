"""How threads lock, wait, wake up and start; safe in handlers and finalizers."""
