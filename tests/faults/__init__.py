"""Fault campaigns of the store: what is killed, filled, broken and damaged on purpose, and what comes of it.

`python tests/faults --full --seed 0` runs all and writes docs/reliability.md; tests/test_faults.py runs a little of
each, and puts in faults which they must notice.
"""
