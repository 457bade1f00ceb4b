"""Real bytes of real clients."""
