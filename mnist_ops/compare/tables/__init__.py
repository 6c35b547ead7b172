"""Tables: what one is, the values in it, and those that are described by data alone."""
