"""What should exist: pure functions of a configuration, its instances, and what exists. No clock, no input/output."""
