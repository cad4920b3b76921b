"""Views of values in memory, as ``graphgrad.views`` finds them: here for the modules of this folder."""

from graphgrad.views import View, apply_view, obstacle, path, resolve, row_major

__all__ = ["View", "apply_view", "obstacle", "path", "resolve", "row_major"]
