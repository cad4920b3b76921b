"""``graphgrad.version``: this package's version, and those of libraries it is not built with."""

from graphgrad import __version__ as __version__

cuda = hip = xpu = None
debug = False
git_version = "Unknown"
