"""The manufacturer service: device initialisation (DI), vouchers and their sale."""
