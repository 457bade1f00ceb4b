"""Everything on one machine: the embedded NATS server and the services as child processes, watched over.

`layout` says what lies where in the data folder, `prepare` makes keys and tokens, `ports` chooses ports, `services`
says what runs, `child` keeps one process running and `stack` all of them. Used by `ashore up`, `ashore demo`, tests
and benchmarks.
"""

from ashore_cli.stack.happenings import Happening, Tell
from ashore_cli.stack.layout import Layout
from ashore_cli.stack.ports import Ports, PortsTaken
from ashore_cli.stack.stack import AlreadyRunning, Stack, StackError

__all__ = ["AlreadyRunning", "Happening", "Layout", "Ports", "PortsTaken", "Stack", "StackError", "Tell"]
