"""A discovery handler as somebody else writes it: grpcio's C core, generated classes, nothing of ours.

It runs in an environment of its own. It takes commands from its standard input, a line of JSON each: a list of devices
to send to all streams, or `{"end": true}` to end the streams, or `{"register": true}`. It writes what it was asked.

    akri_handler.py NAME ENDPOINT REGISTRATION_SOCKET [shared] [silent] [refuse] [register=ANOTHER_ENDPOINT]
"""

import json
import queue
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc

sys.path.insert(0, str(Path(__file__).parent))
messages, services = grpc.protos_and_services("akri.proto")
NAME, ENDPOINT, REGISTRATION, *FLAGS = sys.argv[1:]
END = object()


class Handler(services.DiscoveryHandlerServicer):
    """Sends the same list to everybody."""

    def __init__(self):
        self.devices = None if "silent" in FLAGS else []
        self.streams = {}
        self.lock = threading.Lock()

    def send(self, item):
        with self.lock:
            if item is not END:
                self.devices = item
            for waiting in self.streams.values():
                waiting.put(item)

    def Discover(self, request, context):  # noqa: N802 - as the interface has it
        properties = {name: one.vec.decode() for name, one in request.discovery_properties.items()}
        say({"asked": request.discovery_details, "properties": properties})
        if "refuse" in FLAGS:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "these details are wrong")
        waiting = queue.SimpleQueue()
        context.add_callback(lambda: waiting.put(END))
        with self.lock:
            self.streams[id(context)] = waiting
            if self.devices is not None:
                waiting.put(self.devices)
        try:
            while (item := waiting.get()) is not END:
                yield messages.DiscoverResponse(devices=[device(one) for one in item])
        finally:
            with self.lock:
                self.streams.pop(id(context), None)
            say({"ended": True})


def device(one):
    return messages.Device(
        id=one["id"],
        properties=one.get("properties", {}),
        mounts=[messages.Mount(**mount) for mount in one.get("mounts", [])],
        device_specs=[messages.DeviceSpec(**spec) for spec in one.get("device_specs", [])],
    )


def say(what):
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def register():
    told = next((flag.partition("=")[2] for flag in FLAGS if flag.startswith("register=")), ENDPOINT)
    # Left to itself grpcio says the path as the authority, percent-encoded, as it does here.
    with grpc.insecure_channel(f"unix:{REGISTRATION}") as channel:
        request = messages.RegisterDiscoveryHandlerRequest(
            name=NAME, endpoint=told, endpoint_type=int(told.startswith("http")), shared="shared" in FLAGS
        )
        try:
            services.RegistrationStub(channel).RegisterDiscoveryHandler(request, timeout=10, wait_for_ready=True)
            say({"registered": True})
        except grpc.RpcError as error:
            say({"registered": False, "why": error.details()})


def main():
    server = grpc.server(ThreadPoolExecutor(max_workers=16))
    handler = Handler()
    services.add_DiscoveryHandlerServicer_to_server(handler, server)
    server.add_insecure_port(ENDPOINT.removeprefix("http://") if ENDPOINT.startswith("http") else f"unix:{ENDPOINT}")
    server.start()
    register()
    for line in sys.stdin:
        command = json.loads(line)
        if isinstance(command, list):
            handler.send(command)
        elif command.get("end"):
            handler.send(END)
        elif command.get("register"):
            register()
    server.stop(0)


if __name__ == "__main__":
    main()
