"""What the library logs by itself, and how repeated lines are counted."""
