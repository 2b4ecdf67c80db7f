"""Records as the files that other projects train from."""
