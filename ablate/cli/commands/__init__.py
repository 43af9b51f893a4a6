"""One file a command; each registers itself with `cli.app` when it is imported, by `cli.lazy`."""
