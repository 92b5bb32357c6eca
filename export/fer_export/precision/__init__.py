"""Precisions of an artefact: a table, and a module for each that is made from fp32."""

from fer_export.precision.table import PRECISIONS, Precision, precision_of

__all__ = ["PRECISIONS", "Precision", "precision_of"]
