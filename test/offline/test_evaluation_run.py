"""An evaluation is the same however it is done: at once, in processes, on a cluster, after an interruption."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from fusion_ros.cli.recordings import open_recording
from fusion_ros.engines import EngineSettings
from fusion_ros.errors import BagError, FusionError, WeightsError
from fusion_ros.evaluation.conditions import Condition
from fusion_ros.evaluation.executors import Cluster, Processes, Serial
from fusion_ros.evaluation.results import AS_RECORDED, Evaluation, MethodFacts
from fusion_ros.evaluation.run import Plan, run
from fusion_ros.evaluation.work import Method, Piece, PieceResult
from fusion_ros.metrics import evaluate, select_columns
from fusion_ros.pipeline import FusionSettings
from fusion_ros.synthetic.degrade import parse_degradations
from fusion_ros.synthetic.misalign import parse_misalignments

COLUMNS = select_columns("EN,SD,CC,Flicker")
METHODS = ("average", "maximum")


def _smooth(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 2.0)


@pytest.fixture
def folders(tmp_path) -> Path:
    """Six pairs of grey images of 64 x 48 pixels."""
    for kind, offset in (("rgb", 0), ("thermal", 100)):
        (tmp_path / kind).mkdir()
        for number in range(6):
            cv2.imwrite(str(tmp_path / kind / f"{number}.png"), _smooth(number + offset, (48, 64)))
    return tmp_path


def _plan(folders: Path, **changes) -> Plan:
    recording = open_recording(
        str(folders / "rgb"), str(folders / "thermal"), {}, is_sequence=changes.pop("is_sequence", False)
    )
    methods = tuple(Method(name, FusionSettings(model=name)) for name in METHODS)
    return Plan(**{"recordings": (recording,), "methods": methods, "columns": COLUMNS, "part": 2} | changes)


def _run(plan: Plan, folder: Path, executor=None) -> Evaluation:
    facts = [MethodFacts(method.name) for method in plan.methods]
    return run(plan, folder, facts={"command": "test"}, methods=facts, executor=executor)[0]


class _Dies:
    """Does some pieces, then is interrupted."""

    def __init__(self, after: int) -> None:
        self.after = after

    def run(self, pieces: Sequence[Piece], on_moments: Callable) -> Iterator[tuple[Piece, PieceResult]]:
        for number, done in enumerate(Serial().run(pieces, on_moments)):
            if number == self.after:
                raise KeyboardInterrupt
            yield done


class _Counts(Serial):
    """Notes how many pieces there were to do."""

    def run(self, pieces, on_moments):
        self.pieces = len(pieces)
        return super().run(pieces, on_moments)


def test_values_are_those_of_the_metrics_on_the_images_themselves(folders, tmp_path):
    evaluation = _run(_plan(folders), tmp_path / "work")
    assert [frame.frame for frame in evaluation.select("maximum")] == ["0", "1", "2", "3", "4", "5"]
    for frame in evaluation.select("maximum"):
        rgb, thermal = (cv2.imread(str(folders / kind / f"{frame.frame}.png"), 0) for kind in ("rgb", "thermal"))
        truth = evaluate(thermal, rgb, np.maximum(thermal, rgb), select_columns("EN,SD,CC"))
        assert {key: frame.values[key] for key in truth} == pytest.approx(truth, abs=1e-12)
        assert frame.residual_px is None
    assert evaluation.stage_ms["maximum"]["total"]["p50"] > 0.0


def test_only_in_a_sequence_is_a_frame_compared_with_the_one_before(folders, tmp_path):
    (flicker,) = select_columns("Flicker")
    for is_sequence, defined in ((False, 0), (True, 5)):
        evaluation = _run(_plan(folders, is_sequence=is_sequence), tmp_path / f"work{is_sequence}")
        values = [frame.values[flicker.key] for frame in evaluation.select("average")]
        assert sum(not math.isnan(value) for value in values) == defined
        assert math.isnan(values[0])


def test_several_processes_give_the_same_bytes_as_one(folders, tmp_path):
    stress = tuple(map(Condition, parse_misalignments("mixed:3")))
    plan = _plan(folders, conditions=(Condition(), *stress))
    moments: list[int] = []
    alone = _run(plan, tmp_path / "alone")
    together = run(
        plan,
        tmp_path / "together",
        facts={"command": "test"},
        methods=[MethodFacts(name) for name in METHODS],
        executor=Processes(2),
        on_moments=moments.append,
    )[0]
    assert together.to_json() == alone.to_json()
    assert sum(moments) == plan.count == 24


def test_a_cluster_gives_the_same_bytes_as_one_process(folders, tmp_path):
    distributed = pytest.importorskip("distributed", reason="needs Dask (pip install distributed)")
    plan = _plan(folders, is_sequence=True)  # in which a pipeline carries something on
    with distributed.LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address=None) as cluster:
        done = _run(plan, tmp_path / "cluster", Cluster(cluster.scheduler_address))
    assert done.to_json() == _run(plan, tmp_path / "alone").to_json()


def test_an_unreachable_cluster_is_said_at_once(monkeypatch):
    pytest.importorskip("distributed", reason="needs Dask (pip install distributed)")
    with pytest.raises(FusionError, match="no Dask scheduler answers at 'nonsense://'"):
        Cluster("nonsense://")


def test_an_interrupted_run_goes_on_where_it_was(folders, tmp_path):
    plan, whole = _plan(folders), _run(_plan(folders), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        _run(plan, tmp_path / "work", _Dies(after=4))
    rest = _Counts()
    resumed = _run(plan, tmp_path / "work", rest)
    assert rest.pieces == len(plan.pieces()) - 4 == 2
    assert resumed.to_json() == whole.to_json()


def test_the_beginnings_of_another_evaluation_are_never_taken_over(folders, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        _run(_plan(folders), tmp_path / "work", _Dies(after=1))
    with pytest.raises(FusionError, match="unfinished evaluation of something else"):
        _run(_plan(folders, seed=1), tmp_path / "work")
    cv2.imwrite(str(folders / "rgb" / "3.png"), np.zeros((48, 64), np.uint8))
    with pytest.raises(FusionError, match="--overwrite"):
        _run(_plan(folders), tmp_path / "work")


def test_a_method_that_cannot_run_at_all_ends_the_evaluation(folders, tmp_path):
    nowhere = Method("nowhere", FusionSettings(model="nowhere"))
    with pytest.raises(WeightsError, match="nowhere"):
        _run(_plan(folders, methods=(nowhere,)), tmp_path / "work")


def test_metrics_compare_with_the_unaltered_sources(folders, tmp_path):
    """A blurred thermal image lowers the correlation of what is made of it with the sharp one."""
    conditions = (Condition(), *map(Condition, parse_degradations("thermal_blur:4")))
    evaluation = _run(_plan(folders, conditions=conditions), tmp_path / "work")
    clean, blurred = (evaluation.mean("CC:mean_pearson", "average", c.name) for c in conditions)
    assert blurred < clean - 0.05


def test_the_residual_of_an_uncorrected_shift_is_its_length(folders, tmp_path):
    conditions = (Condition(), *map(Condition, parse_misalignments("shift:3,noise:5")))
    evaluation = _run(_plan(folders, conditions=conditions), tmp_path / "work")
    names = [condition.name for condition in conditions]
    assert names[0] == AS_RECORDED
    assert evaluation.mean("residual_px", "average", names[1]) == pytest.approx(3.0, abs=1e-4)
    assert evaluation.mean("residual_px", "average", names[2]) == 0.0
    assert math.isnan(evaluation.mean("residual_px", "average"))


def test_a_written_evaluation_can_be_read_back(folders, tmp_path):
    evaluation = _run(_plan(folders), tmp_path / "work")
    path = tmp_path / "results.json"
    path.write_text(evaluation.to_json())
    assert Evaluation.read(path).to_json() == evaluation.to_json()
    assert json.loads(path.read_text())["frames"][0]["values"]["Flicker:unexplained_change"] is None
    broken = (
        ("{", "got no JSON"),
        ("{}", "fusion_ros evaluation 1"),
        ('{"format": "fusion_ros evaluation 1"}', "results.json: incomplete"),
        (evaluation.to_json().replace("SD:population_255", "SD:gone"), "another version.*no variant 'gone'"),
    )
    for text, reason in broken:
        path.write_text(text)
        with pytest.raises(FusionError, match=reason):
            Evaluation.read(path)


def test_metrics_are_taken_where_both_cameras_see(folders, tmp_path):
    """Thermal images that cover the left half of the RGB images are compared with the left half alone."""
    half = (0.5, 0.0, -0.25, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
    settings = FusionSettings.from_mapping(
        {"model": "average", "alignment.mode": "homography", "alignment.homography": list(half)}
    )
    evaluation = _run(_plan(folders, methods=(Method("average", settings),)), tmp_path / "work")
    for frame in evaluation.frames:
        rgb, thermal = (cv2.imread(str(folders / kind / f"{frame.frame}.png"), 0) for kind in ("rgb", "thermal"))
        narrow = cv2.resize(thermal, (32, 48), interpolation=cv2.INTER_AREA)
        mean = ((rgb[:, :32].astype(float) + narrow) / 2).round()
        assert frame.values["SD:population_255"] == pytest.approx(mean.std(), rel=0.15)
        correlations = [np.corrcoef(mean.ravel(), image.ravel())[0, 1] for image in (rgb[:, :32], narrow)]
        assert frame.values["CC:mean_pearson"] == pytest.approx(np.mean(correlations), abs=0.04)


@pytest.mark.parametrize("found", [0.0, 1.0])
def test_the_residual_of_an_aligning_network_is_what_its_flow_leaves(folders, tmp_path, monkeypatch, found):
    """A register that answers every pair with the same flow, once with none and once with the right one."""
    import torch

    from fusion_ros.cards import ModelCard
    from fusion_ros.evaluation.conditions import Conditioner
    from fusion_ros.frame import Frame, FramePair
    from fusion_ros.networks import build_network
    from fusion_ros.weights import install_model

    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    (shift,) = map(Condition, parse_misalignments("shift:3"))
    plan = _plan(folders, conditions=(shift,), is_sequence=True)  # the same shift in every frame
    pair = FramePair(*(Frame(np.zeros((48, 64), np.uint8), 0) for _ in range(2)))
    field = Conditioner(shift, plan.recordings[0].name, is_sequence=True)(pair, "0", 0).field
    network = build_network("reconet")
    with torch.no_grad():
        network.register.last.weight.zero_()
        network.register.last.bias.copy_(torch.from_numpy(-found * field[0, 0]))
    nothing = {"sha256": "", "licence": "", "data": "", "recipe": {}, "commit": "", "seed": 0, "date": ""}
    card = ModelCard(f"joint{found:.0f}", "reconet", 0, "", **nothing, hardware="", metrics={})
    install_model(tmp_path / "fusion_ros" / "models", card, network.state_dict())
    joint = Method("joint", FusionSettings(model=f"joint{found:.0f}"))
    frames = _run(
        _plan(folders, conditions=(shift,), is_sequence=True, methods=(joint,)), tmp_path / "work"
    ).frames
    for frame in frames:
        # Beyond the border the velocity is zero: there the flow falls short.
        assert frame.residual_px == pytest.approx(3.0, abs=1e-4) if found == 0 else frame.residual_px < 0.5, (
            frame.residual_px
        )


def test_what_was_done_goes_on_with_other_threads_but_not_with_other_versions(folders, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        _run(_plan(folders), tmp_path / "work", _Dies(after=4))
    threads = tuple(
        replace(method, settings=replace(method.settings, engine=EngineSettings(threads=1)))
        for method in _plan(folders).methods
    )
    rest = _Counts()
    _run(_plan(folders, methods=threads), tmp_path / "work", rest)
    assert rest.pieces == 2
    facts = [MethodFacts(name) for name in METHODS]
    with pytest.raises(FusionError, match="versions"):
        run(_plan(folders), tmp_path / "work", facts={}, methods=facts, origin="another commit")


def test_the_random_part_of_a_still_depends_on_its_own_name_alone(folders, tmp_path):
    conditions = (Condition(), *map(Condition, parse_degradations("darkness:3,glare:30")))
    every = _run(_plan(folders, conditions=conditions), tmp_path / "every")
    (folders / "rgb" / "0.png").unlink()
    rest = _run(_plan(folders, conditions=conditions), tmp_path / "rest")
    values = {(frame.frame, frame.method, frame.condition): frame.values["EN:bits_256"] for frame in every.frames}
    assert len(rest.frames) == 5 * 2 * 3
    for frame in rest.frames:
        assert frame.values["EN:bits_256"] == values[frame.frame, frame.method, frame.condition]


class _BreaksOff:
    """A recording that ends with an error after some moments."""

    def __init__(self, recording, after: int) -> None:
        self._recording, self._after = recording, after
        self.name, self.is_sequence, self.count = recording.name, recording.is_sequence, recording.count
        self.facts, self.identity = recording.facts, recording.identity

    def parts(self, size):
        return [self]

    def open(self):
        return self

    def __iter__(self):
        yield from itertools.islice(self._recording.open(), self._after)
        raise BagError("damaged: the rest is missing")


def test_what_was_measured_before_a_recording_broke_off_stays_with_what_is_known_of_it(folders, tmp_path):
    plan = _plan(folders, is_sequence=True)
    (recording,) = plan.recordings
    broken = _BreaksOff(recording, after=4)
    broken.facts = lambda: recording.facts  # as a reading says it
    evaluation = _run(replace(plan, recordings=(broken,)), tmp_path / "work")
    (source,) = evaluation.sources
    assert len(evaluation.frames) == 4 * len(METHODS)
    assert source.is_sequence and source.kind == "images"
    assert source.problems == (f"{recording.name}: damaged: the rest is missing",)


def test_a_frame_after_one_that_could_not_be_read_has_nothing_before_it(folders, tmp_path):
    (folders / "thermal" / "3.png").write_bytes(b"no image")
    evaluation = _run(_plan(folders, is_sequence=True), tmp_path / "work")
    values = {frame.frame: frame.values["Flicker:unexplained_change"] for frame in evaluation.select("average")}
    assert [name for name, value in values.items() if math.isnan(value)] == ["0", "4"]


def test_what_a_power_cut_spoilt_is_done_again(folders, tmp_path):
    plan = _plan(folders)
    with pytest.raises(KeyboardInterrupt):
        _run(plan, tmp_path / "work", _Dies(after=4))
    done = next(path for path in (tmp_path / "work").glob("*.json") if path.name != "request.json")
    done.write_text(done.read_text()[:50])
    rest = _Counts()
    _run(_plan(folders), tmp_path / "work", rest)
    assert rest.pieces == 3
    (tmp_path / "work" / "request.json").write_text("")
    with pytest.raises(FusionError, match="--overwrite"):
        _run(_plan(folders), tmp_path / "work")
    facts = [MethodFacts(name) for name in METHODS]
    fresh = _Counts()
    run(_plan(folders), tmp_path / "work", facts={}, methods=facts, executor=fresh, replace_other=True)
    assert fresh.pieces == 6
