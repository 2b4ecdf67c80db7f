"""A folder of photographs becomes a data set by one command: `opendet annotate`."""
