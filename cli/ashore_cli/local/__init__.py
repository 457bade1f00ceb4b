"""What happens on this machine: the stack on a terminal, the demo, virtual devices.

Modules here import what is slow to import; commands import them when they run.
"""
