"""The kinds of artefact: a table of formats, and a module for each."""

from fer_export.formats.table import FORMATS, Format, NoSettings, Values, format_named, format_of

__all__ = ["FORMATS", "Format", "NoSettings", "Values", "format_named", "format_of"]
