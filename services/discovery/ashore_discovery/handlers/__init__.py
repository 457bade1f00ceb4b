"""One file, or one folder, for each protocol. None of them is imported before a configuration asks for it."""
