"""HTTP for services: the FDO endpoint, the management API, and what operators ask for, on one port.

`application.py` joins them, `fdo.py` is the devices' fast path, `api.py` with `problems.py`, `auth.py` and `openapi.py`
the management API, `health.py` health and metrics, `limits.py` who may send how much, `server.py` the bounded HTTP
server below. Nothing is imported here, so that a service without devices carries no CBOR.
"""
