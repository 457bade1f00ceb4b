"""The admission webhook: whoever writes a configuration that cannot work is told so at once."""
