"""docs/coverage.md: of every format and every column of gold, which fields it comes from, or why it has none."""
