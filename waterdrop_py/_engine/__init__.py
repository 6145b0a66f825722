"""The machinery. No user imports it; see `docs/project/architecture.md`."""
