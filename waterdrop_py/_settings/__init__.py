"""How a `Config` is declared, checked, read from text and completed with defaults."""
