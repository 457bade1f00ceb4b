"""A cluster in memory, for machines without one: it shows what would be applied."""
