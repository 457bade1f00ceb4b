"""The kubelet's interfaces: `v1beta1` of device plugins, and `v1` of pod resources.

messages.py   what is said, read and written with limits
calls.py      one question to the kubelet
watching.py   whether the kubelet is there, and when it was started anew
endpoint.py   what one resource serves to it
sockets.py    all endpoints: served first, registered then, all at once
calm.py       puts off lists that can wait, while resources are being registered
containers.py which containers have which devices
"""
