"""The machinery. No user imports it; see `docs/architecture.md`."""
