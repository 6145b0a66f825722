"""asyncio: the same producers and pools, awaited. The event loop is never held."""
