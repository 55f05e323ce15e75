"""What is published: the run's best weights as a model that loads everywhere, with figures that are true."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from small_trainings import pairs, recipe_of, trained, write_folders

from fusion_ros.cards import read_card
from fusion_ros.errors import SettingsError, WeightsError
from fusion_ros.frame import Frame, FramePair
from fusion_ros.metrics import DEFAULT_COLUMNS, METRICS, evaluate
from fusion_ros.networks import FusionNetwork, build_network
from fusion_ros.pipeline import FusionSettings, open_pipeline
from fusion_ros.weights import load_network, load_upstream, verify
from training.__main__ import main
from training.data.pairs import MemoryPair, PairImages, read_luma
from training.publish import Publication, measure, pairs_for_test, publish
from training.run_folder import RunFolder

pytestmark = pytest.mark.usefixtures("one_thread")

DEFAULT_METRICS = {column.metric.name for column in DEFAULT_COLUMNS}
MINE = Publication("mine", "CC0-1.0", "two made-up pairs")


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A run of RFVIF, 8 channels wide."""
    path = tmp_path_factory.mktemp("finished") / "run"
    torch.set_num_threads(1)
    trained(recipe_of("rfvif", epochs=2, validate_every=1), path)
    return path


@pytest.fixture
def run(finished, tmp_path) -> RunFolder:
    """A copy of that run, to be spoilt."""
    return RunFolder(Path(shutil.copytree(finished, tmp_path / "run")))


def _fused(network: FusionNetwork, infrared: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """Fuse 8-bit images with a network that takes and gives 0 to 1."""
    with torch.no_grad():
        output = network(*(torch.from_numpy(image / np.float32(255))[None, None] for image in (infrared, visible)))
    return np.rint(output[0, 0].numpy().clip(0, 1) * 255).astype(np.uint8)


def _command(run: RunFolder, models: Path) -> list[str]:
    said = ["--name", "mine", "--licence", "CC0-1.0", "--trained-on", "made-up pairs"]
    return ["publish", str(run.path), *said, "--models", str(models)]


# --- what is written ---


@pytest.mark.parametrize(
    ("name", "settings", "expected"),
    [
        ("rfvif", {"width": 12}, {"width": 12, "extraction_stages": 1}),
        ("lrrnet", {"channels": 6, "blocks": 2}, {"channels": 6, "blocks": 2}),
        ("didfuse", {"fusion": "average"}, {"fusion": "average"}),
        ("reconet_fuser", {}, {"width": 4, "recurrences": 2}),
        ("reconet", {"register": "unet", "inputs": 4, "joint_epochs": 1}, {"register": "unet", "inputs": 4}),
    ],
)
def test_a_published_network_is_the_one_that_was_trained_whatever_its_size(tmp_path, name, settings, expected):
    recipe = recipe_of(name, **({} if name == "reconet" else {"epochs": 1}) | settings)
    trained(recipe, tmp_path / "run")
    folder = publish(RunFolder(tmp_path / "run"), MINE, tmp_path / "models")
    assert folder == tmp_path / "models" / "mine"
    card = verify(folder)
    assert card.network == name
    assert expected.items() <= card.network_settings.items()
    assert card.parameters == sum(parameter.numel() for parameter in recipe.network.parameters())
    network = load_network(folder)
    assert not network.training
    tensors, learnt = network.state_dict(), recipe.network.state_dict()
    assert tensors.keys() == learnt.keys()
    assert all(torch.equal(tensor, learnt[key]) for key, tensor in tensors.items())


def test_the_card_says_what_was_trained_how_and_on_what(run, tmp_path):
    publication = Publication("mine", "CC0-1.0", "two made-up pairs", notes=("A toy.",))
    card = read_card(publish(run, publication, tmp_path / "models"))
    environment = run.environment()
    assert (card.name, card.licence, card.data) == ("mine", "CC0-1.0", "two made-up pairs")
    assert (card.recipe["name"], card.recipe["width"], card.recipe["learning_rate"]) == ("rfvif", 8, 0.001)
    assert (card.commit, card.date, card.seed) == (environment["commit"], environment["started"][:10], 0)
    assert card.metrics == {}
    assert card.notes[-1] == "A toy."
    assert not any("small variant" in note for note in card.notes)
    request = run.request() | {"small": True}
    (run.path / "settings.yaml").write_text(yaml.safe_dump(request))
    assert "small variant" in read_card(publish(run, MINE, tmp_path / "others")).notes[0]


def test_the_epoch_on_the_card_is_the_best_one_of_the_last_stage(run, tmp_path):
    losses = {1: "nan", 2: 0.5, 3: "", 4: 0.4, 5: 0.6}
    rows = [("before", 1, 0.1), *(("fuse", epoch, loss) for epoch, loss in losses.items())]
    with (run.path / "history.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("stage", "epoch", "validation_loss", "seconds"))
        writer.writerows((*row, 60.0) for row in rows)
    card = read_card(publish(run, MINE, tmp_path / "models"))
    assert card.recipe["best_epoch"] == 4
    assert card.hardware.endswith("; 6 min")


def test_no_path_of_the_one_who_trained_is_on_the_card(run, tmp_path):
    request = run.request()
    request["settings"]["vgg"] = "/home/somebody/vgg16-397923af.pth"
    (run.path / "settings.yaml").write_text(yaml.safe_dump(request))
    text = read_card(publish(run, MINE, tmp_path / "models")).text()
    assert "vgg16-397923af.pth" in text
    assert "somebody" not in text and str(tmp_path) not in text


def test_the_fuser_that_was_begun_with_is_named_and_need_not_be_there_any_more(repository, tmp_path):
    begun = Path(shutil.copytree(repository / "models" / "reconet", tmp_path / "begun" / "old_fuser"))
    recipe = recipe_of("reconet", start=str(begun), width=64, recurrences=3, joint_epochs=1, crop=16)
    trained(recipe, tmp_path / "run")
    shutil.rmtree(begun)
    card = read_card(publish(RunFolder(tmp_path / "run"), MINE, tmp_path / "models"))
    assert any("The fuser began as the model 'old_fuser'" in note for note in card.notes)
    assert str(tmp_path) not in card.text()


def test_the_models_that_a_register_learnt_from_are_named_without_their_folders(tmp_path):
    trained(recipe_of("matching_register", epochs=1), tmp_path / "run")
    request = RunFolder(tmp_path / "run").request()
    request["settings"] |= {
        "register_first": True,
        "teacher": "/home/somebody/old",
        "start": "/home/somebody/older",
    }
    (tmp_path / "run" / "settings.yaml").write_text(yaml.safe_dump(request))
    card = read_card(publish(RunFolder(tmp_path / "run"), MINE, tmp_path / "models"))
    notes = " ".join(card.notes)
    assert "first registered by old, locally too" in notes and "Begun with the weights of older." in notes
    assert (card.recipe["teacher"], card.recipe["start"]) == ("old", "older")
    assert "somebody" not in card.text()


# --- what is measured ---


def test_the_figures_on_the_card_are_those_of_the_test_part_alone(run, tmp_path):
    tno = write_folders(tmp_path / "TNO", 2, (48, 60))
    road = write_folders(tmp_path / "RoadScene", 3, (48, 60))
    stems = ("FLIR_08932", "FLIR_08954", "FLIR_00006")  # the first two are for test
    for kind in ("ir", "vis"):
        for number, stem in enumerate(stems):
            (road / kind / f"{number}.png").rename(road / kind / f"{stem}.png")
    publication = Publication("mine", "CC0-1.0", "", tests=(f"tno={tno}", f"roadscene={road}"))
    folder = publish(run, publication, tmp_path / "models")
    metrics, network = read_card(folder).metrics, load_network(folder)
    assert set(metrics) == {"tno, test part, 2 pairs", "roadscene, test part, 2 pairs"}
    for label, root, names in zip(metrics, (tno, road), (("0", "1"), stems[:2]), strict=True):
        rows = []
        for name in names:
            infrared, visible = (read_luma(root / kind / f"{name}.png") for kind in ("ir", "vis"))
            fused = _fused(network, infrared, visible)
            share = np.bincount(fused.ravel(), minlength=256) / fused.size
            share = share[share > 0]
            values = evaluate(infrared, visible, fused)
            rows.append({key.partition(":")[0]: value for key, value in values.items()})
            assert rows[-1]["EN"] == pytest.approx(-(share * np.log2(share)).sum())
            assert rows[-1]["SD"] == pytest.approx(fused.std())
        (ours,) = metrics[label].values()
        assert ours.keys() == DEFAULT_METRICS
        for metric, value in ours.items():
            assert value == pytest.approx(np.mean([row[metric] for row in rows]), rel=2e-3, abs=2e-3), metric


def test_another_model_is_measured_on_the_same_pairs(run, tmp_path):
    models = tmp_path / "models"
    recipe = recipe_of("reconet_fuser", epochs=1)
    trained(recipe, tmp_path / "other")
    other = publish(RunFolder(tmp_path / "other"), Publication("other", "CC0-1.0", ""), models)
    tno = write_folders(tmp_path / "TNO", 2)
    arguments = _command(run, models)
    arguments += ["--test", f"tno={tno}", "--compare", f"the other={other}"]
    assert main(arguments) == 0
    (figures,) = read_card(models / "mine").metrics.values()
    assert set(figures) == {"these weights", "the other"}
    spreads = [
        _fused(load_network(other), *(read_luma(tno / kind / f"{number}.png") for kind in ("ir", "vis"))).std()
        for number in range(2)
    ]
    assert figures["the other"]["SD"] == pytest.approx(np.mean(spreads), abs=0.01)
    assert figures["the other"]["SD"] != figures["these weights"]["SD"]


def test_a_set_without_a_test_part_is_refused(run, tmp_path):
    folders = write_folders(tmp_path / "data", 2)
    with pytest.raises(SettingsError, match="expected pairs of the set's test part, found none among 2"):
        publish(run, Publication("mine", "CC0-1.0", "", tests=(f"folders={folders}",)), tmp_path / "models")
    assert not (tmp_path / "models").exists()


# --- what it is used by, and what it never harms ---


def test_the_pipeline_of_the_node_runs_a_published_model(run, tmp_path, monkeypatch):
    publish(run, MINE, tmp_path / "models")
    monkeypatch.setenv("FUSION_ROS_MODELS", str(tmp_path / "models"))
    infrared, visible, _ = pairs()[0].read()
    pipeline = open_pipeline(FusionSettings(model="mine"))
    image = pipeline(FramePair(Frame(visible, 0), Frame(infrared, 0))).image
    expected = _fused(load_network("mine"), infrared, visible)
    assert np.abs(image.astype(int) - expected).max() <= 1
    assert expected.std() > 0


def test_a_publication_never_harms_the_model_that_is_there(run, tmp_path, caplog):
    models = tmp_path / "models"
    arguments = _command(run, models)
    assert main(arguments) == 0
    before = verify(models / "mine")
    tno = ["--test", f"tno={write_folders(tmp_path / 'TNO', 1)}"]
    for further, message in (
        ([], "exists; give --replace"),
        (["--replace", "--compare", "authors"], "--compare: expected LABEL=MODEL, got 'authors'"),
        (["--replace", *tno, "--compare", "authors=nothing"], "no model 'nothing'"),
        (["--replace", "--test", "tno=/nowhere"], "/nowhere"),
    ):
        assert main([*arguments, *further]) == 1
        assert message in caplog.text
    run.best.write_bytes(run.best.read_bytes()[:100])
    assert main([*arguments, "--replace"]) == 1
    assert "best.safetensors" in caplog.text
    assert verify(models / "mine") == before
    assert [path.name for path in models.iterdir()] == ["mine"]


def test_a_model_is_replaced_where_that_is_asked_for(run, tmp_path):
    publish(run, MINE, tmp_path / "models")
    again = Publication("mine", "Apache-2.0", "two made-up pairs", replace=True)
    folder = publish(run, again, tmp_path / "models")
    assert verify(folder).licence == "Apache-2.0"
    assert sorted(path.name for path in folder.iterdir()) == ["card.yaml", "weights.safetensors"]
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["mine"]


@pytest.mark.parametrize("absent", ["best.safetensors", "history.csv"])
def test_a_run_without_a_validation_of_its_last_stage_cannot_be_published(run, tmp_path, absent):
    (run.path / absent).unlink()
    with pytest.raises(WeightsError, match=r"expected best\.safetensors, written by the first validation"):
        publish(run, MINE, tmp_path / "models")
    with pytest.raises(SettingsError, match="holds no training run"):
        publish(RunFolder(tmp_path / "nothing"), MINE, tmp_path / "models")
    assert not (tmp_path / "models").exists()


# --- the weights that are shipped ---

SHIPPED = [
    ("reconet", ("roadscene", "tno")),
    ("lrrnet", ("roadscene",)),
    ("didfuse", ("roadscene", "tno")),
]
"""Model, named like the file of its authors' weights, and sets on whose test parts it is no worse than they."""


def _at_least_as_good(ours: dict[str, float], theirs: dict[str, float]) -> list[str]:
    signs = {name: 1 if METRICS[name].higher_is_better else -1 for name in ours}
    return [name for name, sign in signs.items() if sign * ours[name] >= sign * theirs[name]]


@pytest.mark.parametrize(("model", "data_sets"), SHIPPED)
def test_by_its_card_a_shipped_model_is_at_least_as_good_as_the_authors(repository, model, data_sets):
    metrics = verify(repository / "models" / model).metrics
    named = {label: figures for label, figures in metrics.items() if label.startswith(data_sets)}
    assert len(named) == len(data_sets)
    for label, figures in named.items():
        good = _at_least_as_good(figures["these weights"], figures["authors' weights"])
        assert len(good) > len(figures["these weights"]) / 2, (label, good)


@pytest.mark.parametrize(("model", "data_sets"), SHIPPED)
def test_on_some_test_pairs_a_shipped_model_is_at_least_as_good_as_the_authors(
    shared, repository, model, data_sets
):
    """In the majority of the default metrics, on the middle of every eighth picture, so that it takes seconds."""
    cut = []
    for pair in pairs_for_test(f"{data_sets[0]}={shared / 'data' / data_sets[0]}")[::8]:
        infrared, visible, _ = pair.read()
        window = tuple(slice(side // 4, side // 4 + side // 2) for side in visible.shape)
        cut.append(MemoryPair(pair.name, PairImages(infrared[window].copy(), visible[window].copy())))
    card = read_card(repository / "models" / model)
    theirs = load_upstream(build_network(card.network), shared / "weights" / "upstream" / f"{model}.safetensors")
    values = measure({"ours": load_network(repository / "models" / model), "theirs": theirs}, cut)
    good = _at_least_as_good(values["ours"], values["theirs"])
    assert len(good) > len(DEFAULT_METRICS) / 2, good
