"""`waterdrop demo`: this library's producers while idle, compared with bare ones."""
