"""The store: one HDF5 file of results that is never half written."""

from .groups import Entry
from .schema import SCHEMA_NAME, SCHEMA_VERSION
from .store import Store, vectors_path

__all__ = ["SCHEMA_NAME", "SCHEMA_VERSION", "Entry", "Store", "vectors_path"]
