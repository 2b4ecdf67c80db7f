"""Looking at a build: counts, one sample's story, exports."""
