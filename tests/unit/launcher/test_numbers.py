"""The launcher's metrics, two of them by Akri's names."""

from prometheus_client import CollectorRegistry, generate_latest

from ashore_broker_launcher.reconciling.numbers import Numbers


def test_pods_and_instances_are_counted_by_akris_names_and_forgotten_with_their_configuration() -> None:
    registry = CollectorRegistry()
    numbers = Numbers(registry)
    numbers.count("default/cams", {True: 2}, {"node-a": 1, "node-b": 1})
    numbers.count("default/cams", {True: 1}, {"node-a": 1})
    told = generate_latest(registry).decode()
    assert 'akri_instance_count{configuration="default/cams",is_shared="true"} 1.0' in told
    assert 'akri_broker_pod_count{configuration="default/cams",node="node-a"} 1.0' in told
    assert "node-b" not in told
    numbers.forget("default/cams")
    assert "default/cams" not in generate_latest(registry).decode()
