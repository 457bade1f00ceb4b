"""The owner service: vouchers, TO0, TO2, profiles."""
