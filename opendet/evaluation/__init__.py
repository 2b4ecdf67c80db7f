"""Average precision, open-ended naming, and the report."""
