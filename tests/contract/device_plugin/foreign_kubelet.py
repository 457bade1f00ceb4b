"""A kubelet as somebody else writes it: grpcio's C core, generated classes, nothing of ours.

It runs in an environment of its own, and writes a line of JSON for whatever it hears. It takes commands from its
standard input, a line of JSON each: `{"allocate": RESOURCE, "containers": [[ID]]}`, `{"prefer": RESOURCE, "available":
[ID], "must": [ID], "size": N}`, `{"start": RESOURCE, "ids": [ID]}`, `{"use": {RESOURCE: [ID]}}`.

    foreign_kubelet.py FOLDER PODS_SOCKET
"""

import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc

sys.path.insert(0, str(Path(__file__).parent))
messages, services = grpc.protos_and_services("kubelet.proto")
pods, pods_services = grpc.protos_and_services("pods.proto")
FOLDER, PODS = Path(sys.argv[1]), sys.argv[2]
PLUGINS = {}
USED = {}
SAYING = threading.Lock()


def say(what):
    with SAYING:
        sys.stdout.write(json.dumps(what) + "\n")
        sys.stdout.flush()


class Registration(services.RegistrationServicer):
    """Asks back before it answers, as kubelets do."""

    def Register(self, request, context):  # noqa: N802 - as the interface has it
        stub = services.DevicePluginStub(grpc.insecure_channel(f"unix:{FOLDER / request.endpoint}"))
        options = stub.GetDevicePluginOptions(messages.Empty(), timeout=10)
        PLUGINS[request.resource_name] = stub
        say(
            {
                "registered": request.resource_name,
                "version": request.version,
                "said": request.options.get_preferred_allocation_available,
                "answered": options.get_preferred_allocation_available,
            }
        )
        threading.Thread(target=listen, args=(request.resource_name, stub), daemon=True).start()
        return messages.Empty()


class Lister(pods_services.PodResourcesListerServicer):
    """One pod, with one container."""

    def List(self, request, context):  # noqa: N802 - as the interface has it
        devices = [pods.ContainerDevices(resource_name=name, device_ids=ids) for name, ids in USED.items()]
        container = pods.ContainerResources(name="broker", devices=devices, cpu_ids=[1, 2])
        return pods.ListPodResourcesResponse(
            pod_resources=[pods.PodResources(name="pod", namespace="default", containers=[container])]
        )


def listen(resource, stub):
    try:
        for found in stub.ListAndWatch(messages.Empty()):
            say({"listed": resource, "devices": {one.ID: one.health for one in found.devices}})
        say({"ended": resource, "why": "OK"})
    except grpc.RpcError as error:
        say({"ended": resource, "why": error.code().name})


def allocate(command):
    containers = [messages.ContainerAllocateRequest(devices_ids=ids) for ids in command["containers"]]
    try:
        answer = PLUGINS[command["allocate"]].Allocate(
            messages.AllocateRequest(container_requests=containers), timeout=20
        )
    except grpc.RpcError as error:
        return say({"refused": error.details(), "code": error.code().name})
    return say(
        {
            "allocated": [
                {
                    "env": dict(one.envs),
                    "mounts": [[mount.host_path, mount.container_path, mount.read_only] for mount in one.mounts],
                    "devices": [[node.host_path, node.container_path, node.permissions] for node in one.devices],
                    "cdi": [device.name for device in one.cdi_devices],
                }
                for one in answer.container_responses
            ]
        }
    )


def prefer(command):
    request = messages.PreferredAllocationRequest(
        container_requests=[
            messages.ContainerPreferredAllocationRequest(
                available_deviceIDs=command["available"],
                must_include_deviceIDs=command["must"],
                allocation_size=command["size"],
            )
        ]
    )
    answer = PLUGINS[command["prefer"]].GetPreferredAllocation(request, timeout=20)
    say({"preferred": list(answer.container_responses[0].deviceIDs)})


def main():
    server, lister = grpc.server(ThreadPoolExecutor(16)), grpc.server(ThreadPoolExecutor(4))
    services.add_RegistrationServicer_to_server(Registration(), server)
    pods_services.add_PodResourcesListerServicer_to_server(Lister(), lister)
    lister.add_insecure_port(f"unix:{PODS}")
    lister.start()
    server.add_insecure_port(f"unix:{FOLDER / 'kubelet.sock'}")
    server.start()
    say({"ready": True})
    for line in sys.stdin:
        command = json.loads(line)
        if "allocate" in command:
            allocate(command)
        elif "prefer" in command:
            prefer(command)
        elif "start" in command:
            request = messages.PreStartContainerRequest(devices_ids=command["ids"])
            PLUGINS[command["start"]].PreStartContainer(request, timeout=20)
            say({"started": True})
        else:
            USED.clear()
            USED.update(command["use"])


if __name__ == "__main__":
    main()
