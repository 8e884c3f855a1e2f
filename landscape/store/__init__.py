"""The store: one HDF5 file of results that is never half written."""

from .schema import SCHEMA_NAME, SCHEMA_VERSION
from .store import Entry, Store, vectors_path

__all__ = ["SCHEMA_NAME", "SCHEMA_VERSION", "Entry", "Store", "vectors_path"]
