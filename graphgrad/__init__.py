"""graphgrad."""
