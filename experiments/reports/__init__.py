"""A run directory as one page that opens offline."""
