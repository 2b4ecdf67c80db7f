"""Pages to look through a collection of samples: static ones, and the same ones served."""
