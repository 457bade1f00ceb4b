"""The launcher for a real API server, on lightkube with plain objects."""
