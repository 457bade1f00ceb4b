"""Makes the cluster what it should be: a queue of things to look at, and one pass for each kind of thing."""
