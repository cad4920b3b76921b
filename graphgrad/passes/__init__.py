"""Passes: each one a graph algorithm with a name, ``Graph -> Graph``."""
