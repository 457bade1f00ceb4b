"""The FDO device: virtual ones by the hundred, and real Linux ones.

`device.Device` is one device in one folder: it is initialised once, onboarded, and shown. `fleet` runs many of them.
The protocol itself is pure and stands in `ashore.fdo`; here is what touches the world: HTTP (`transport`), the
credential on disk (`credential_file`), files and programs (`host`), and patience (`onboard`).
"""
