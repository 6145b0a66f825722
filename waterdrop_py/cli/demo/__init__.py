"""`waterdrop demo`: idle producers of this library beside bare ones."""
