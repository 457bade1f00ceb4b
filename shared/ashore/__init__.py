"""What the services, the device and the command line share, and nothing else."""
