"""fusion_node over real DDS: what it says of its state, and parameters that are set while it is there."""

from __future__ import annotations

import threading

import pytest
from live_rig import SECOND
from rclpy.parameter import Parameter
from std_srvs.srv import SetBool

from fusion_ros.pipeline import FusionPipeline

TOGETHER = [
    pytest.param(
        {"alignment.translation": [0.05, 0.0, 0.0], "alignment.rotation": [0.0, 0.0, 0.0, 1.0]}, id="pose"
    ),
    pytest.param({"alignment.rgb_width": 640, "alignment.rgb_height": 480}, id="rgb size"),
    pytest.param({"alignment.thermal_width": 640, "alignment.thermal_height": 480}, id="thermal size"),
]


@pytest.fixture
def enable(rig):
    """Calls the service ``~/enable`` of the rig's node."""
    clients = []

    def call(value: bool) -> None:
        if not clients:
            clients.append(rig.node.create_client(SetBool, f"{rig.fusion.get_fully_qualified_name()}/enable"))
            rig.until(clients[0].service_is_ready)
        future = clients[0].call_async(SetBool.Request(data=value))
        rig.until(future.done)
        assert future.result().success

    return call


def _mode(rig) -> str:
    return rig.diagnostics.get("fusion", {}).get("mode", "")


def test_a_pair_that_ends_after_a_stop_does_not_change_what_is_said_of_the_state(rig, enable, monkeypatch):
    begun, may_end, fuse = threading.Event(), threading.Event(), FusionPipeline.__call__

    def held(*args, **options):
        begun.set()
        assert may_end.wait(20)
        return fuse(*args, **options)

    monkeypatch.setattr(FusionPipeline, "__call__", held)
    node = rig.start(model="average", always_compute=True)
    rig.send_pair(SECOND)
    rig.until(begun.is_set)
    enable(False)
    may_end.set()
    rig.until(lambda: rig.diagnostics.get("fusion", {}).get("pairs fused") == "1")
    assert _mode(rig) == "disabled"

    begun.clear(), may_end.clear()
    enable(True)
    rig.send_pair(2 * SECOND)
    rig.until(begun.is_set)
    stop = node._worker.stop
    monkeypatch.setattr(node._worker, "stop", lambda: (may_end.set(), stop())[1])
    assert node.trigger_deactivate().name == "SUCCESS"
    assert rig.books().counts["fused"] == 2
    rig.until(lambda: _mode(rig) == "inactive")


def test_a_node_that_is_activated_while_it_is_disabled_says_disabled(rig, enable):
    node = rig.start(model="average")
    rig.until(lambda: _mode(rig) == "waiting")
    enable(False)
    assert node.trigger_deactivate().name == "SUCCESS"
    rig.until(lambda: _mode(rig) == "inactive")
    assert node.trigger_activate().name == "SUCCESS"
    rig.until(lambda: _mode(rig) == "disabled")
    enable(True)
    rig.until(lambda: _mode(rig) == "waiting")


def test_a_node_that_was_deactivated_awaits_no_calibration(rig):
    pose = {"alignment__translation": [0.0, 0.0, 0.0], "alignment__rotation": [0.0, 0.0, 0.0, 1.0]}
    node = rig.start(model="average", alignment__mode="calibration", **pose)
    rig.until(lambda: "awaited" in rig.levels.get("alignment", (b"", ""))[1])
    assert node.trigger_deactivate().name == "SUCCESS"
    rig.until(lambda: rig.levels["alignment"] == (b"\x00", "ok"))
    assert node.trigger_activate().name == "SUCCESS"
    rig.until(lambda: "awaited" in rig.levels["alignment"][1])


@pytest.mark.parametrize("values", TOGETHER)
def test_what_belongs_together_is_refused_alone_with_the_way_out_and_taken_at_once(rig, values):
    node = rig.start(model="average")
    parameters = [Parameter(name, value=value) for name, value in values.items()]
    for alone in node.set_parameters(parameters):
        assert not alone.successful
        assert "set_parameters_atomically" in alone.reason and "parameters file" in alone.reason
    assert node.set_parameters_atomically(parameters).successful
    flat = node.settings.flat()
    assert {name: flat[name] for name in values} == {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    }


def test_the_period_of_diagnostics_that_is_set_before_configuring_holds(rig):
    node = rig.start(autostart=False, model="average", diagnostics_period_s=60.0)
    assert node.set_parameters([Parameter("diagnostics_period_s", value=0.1)])[0].successful
    assert node.trigger_configure().name == "SUCCESS"
    rig.until(lambda: _mode(rig) == "inactive")
    period = Parameter("diagnostics_period_s", value=0.2)
    assert "fixed while the node is configured" in node.set_parameters([period])[0].reason
