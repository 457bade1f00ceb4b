"""The device plugin: one on each node of a cluster. It offers the devices that the node sees to its kubelet.

    instances.py names.py claims.py offers.py   what is offered, and who has it; pure
    kubelet/                                    the kubelet's interfaces, over gRPC
    plugin.py allocating.py reclaiming.py       where they meet, and where the clock is

It has no credentials of Kubernetes: instances reach it as events, and slots it asks of the broker launcher on the bus.
"""
