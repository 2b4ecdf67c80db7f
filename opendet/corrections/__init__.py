"""What people mend in a build's boxes and names, kept in batches and applied by the filter."""
