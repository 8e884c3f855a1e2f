"""Two or more minima measured on one footing: what is measured at each, and between two of them.

`table` holds the names and needs no torch; `points`, `pairs` and `subsets` do the measuring.
"""
