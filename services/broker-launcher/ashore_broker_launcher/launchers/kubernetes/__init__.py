"""The launcher for a real API server, on connections of our own (docs/adr/0011)."""
