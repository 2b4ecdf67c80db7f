"""Cards: what a data set or a model is, told from its own manifests and measurements."""
