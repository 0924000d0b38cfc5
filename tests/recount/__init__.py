"""What gold must say, counted anew from the raw files; no part of the pipeline is imported to count."""
