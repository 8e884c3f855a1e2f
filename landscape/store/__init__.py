"""The store: one HDF5 file of results that is never half written."""

from .export import FORMATS, described, export
from .groups import Entry
from .merge import PREFERENCES, merge
from .schema import SCHEMA_NAME, SCHEMA_VERSION
from .store import Store, vectors_path
from .verify import Problem, verify

__all__ = [
    "FORMATS",
    "PREFERENCES",
    "SCHEMA_NAME",
    "SCHEMA_VERSION",
    "Entry",
    "Problem",
    "Store",
    "described",
    "export",
    "merge",
    "vectors_path",
    "verify",
]
