"""The version, alone in a file: the command line prints it and builds read it."""

__version__ = "0.1.0"
