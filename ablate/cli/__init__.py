"""The command line: `main` catches errors, `app` has the options, `commands` one file a command.

May import everything else, at the top only what `ablate --help` can wait for.
"""
