"""The ideas of the data stages, one module a stage, none of which knows of Ray."""
