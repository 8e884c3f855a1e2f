"""A comparison as text: tables for the terminal, Markdown and LaTeX, and what they are to be read as."""

from .forms import as_latex, as_markdown, as_text, escaped
from .notes import as_json, notes
from .tables import Table, number, tables

__all__ = ["Table", "as_json", "as_latex", "as_markdown", "as_text", "escaped", "notes", "number", "tables"]
