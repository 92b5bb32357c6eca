"""Galleries: what a run found, to look at, as one HTML page or as a contact sheet."""

from fer_runtime.gallery.collection import Gallery, gallery_ending

__all__ = ["Gallery", "gallery_ending"]
