"""The scripts that make the pictures of the site; `make pictures` runs them."""
