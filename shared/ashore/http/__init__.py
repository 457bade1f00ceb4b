"""HTTP for services: the FDO endpoint, the management API, and what operators ask for, on one port.

`fdo.py` is the devices' fast path; `api.py` with `routes.py`, `problems.py`, `auth.py` and `openapi.py` the management
API; `health.py` health and metrics; `limits.py` who may send how much. Below is the server: `server.py` listens,
`crowd.py` bounds connections, `connection.py` keeps order on each, `reading.py` parses, `site.py` chooses among the
jobs of `jobs.py` and `asgi.py`, and `wire.py` has the bytes. Nothing is imported here, so that a service without
devices carries no CBOR.
"""
