"""The report: one page that needs nothing beside itself, shows everything, and executes nothing of a user's."""

from __future__ import annotations

import base64
import hashlib
import math
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from small_evaluation import CC, CE, COLUMNS, EN, drawn, small_evaluation, thumbnails_of

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")

from fusion_ros.chart_style import style_of
from fusion_ros.errors import FusionError
from fusion_ros.evaluation import plots
from fusion_ros.evaluation.conditions import Condition
from fusion_ros.evaluation.ranking import worst_and_best
from fusion_ros.evaluation.report import write_report
from fusion_ros.evaluation.results import ConditionFacts
from fusion_ros.synthetic.degrade import parse_degradations

AS_IS = (ConditionFacts(),)
EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
VOID = {"meta", "link", "br", "img", "input", "hr"}
CONTENT = {"p", "td", "th", "figcaption", "li", "h2", "h3", "h4", "dd"}


class Page(HTMLParser):
    """A parsed page: its elements in order, and whether all that is opened is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.faults: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        self.faults += [f"<{tag}> is never closed" for tag in self._open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.texts.setdefault(tag, [])
        if tag in CONTENT:
            self.texts[tag].append("")
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.faults.append(f"</{tag}> closes something else, line {self.getpos()[0]}")

    def handle_data(self, data: str) -> None:
        for tag in self._open:
            if tag in CONTENT:
                self.texts[tag][-1] += data

    def of_class(self, name: str) -> list[tuple[str, dict[str, str | None]]]:
        return [(tag, attrs) for tag, attrs in self.elements if name in (attrs.get("class") or "").split()]


def _written(tmp_path, evaluation, thumbnails=None) -> str:
    path = tmp_path / "report.html"
    write_report(evaluation, thumbnails_of(evaluation) if thumbnails is None else thumbnails, path)
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def evaluation():
    return small_evaluation()


@pytest.fixture(scope="module")
def text(evaluation, tmp_path_factory) -> str:
    return _written(tmp_path_factory.mktemp("report"), evaluation)


@pytest.fixture(scope="module")
def page(text) -> Page:
    return Page(text)


def test_every_element_is_closed_and_every_id_is_used_once(page):
    assert not page.faults
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))


def test_every_reference_leads_to_a_place_in_the_page(page):
    ids = {attrs["id"] for _, attrs in page.elements if "id" in attrs}
    links = [attrs[key] for _, attrs in page.elements for key in ("href", "xlink:href") if key in attrs]
    assert links and {link[1:] for link in links} <= ids
    assert all(link.startswith("#") for link in links)


def test_nothing_is_loaded_from_outside(page, text):
    assert not [tag for tag, _ in page.elements if tag in ("link", "iframe", "object", "embed", "base", "form")]
    sources = [attrs["src"] for _, attrs in page.elements if "src" in attrs]
    assert sources and all(source.startswith("data:image/jpeg;base64,") for source in sources)
    assert not re.search(r"url\((?!#)|@import|srcset=", text)


def test_the_browser_is_told_to_run_this_script_only(page, text):
    (policy,) = [a["content"] for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"]
    (script,) = re.findall(r"<script>(.*?)</script>", text, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.startswith("default-src 'none';") and f"script-src 'sha256-{digest}'" in policy
    assert not [attrs for _, attrs in page.elements if any(key.startswith("on") for key in attrs)]


def test_names_from_users_are_shown_and_never_executed(tmp_path):
    """Names of files and methods, and everything that was measured under them."""
    evaluation = small_evaluation(
        (EVIL, "$x_1$", "_b"),
        lambda method, condition, key, frame: len(method) + 0.1 * frame,  # so that it is named in the verdict
        source=EVIL,
        facts={EVIL: EVIL},
        stills=3,
        sequence=6,
    )
    evaluation = replace(evaluation, frames=tuple(replace(f, frame=f.frame + EVIL) for f in evaluation.frames))
    text = _written(tmp_path, evaluation)
    page = Page(text)
    assert not page.faults
    assert [tag for tag, _ in page.elements].count("script") == 1
    assert not [attrs for _, attrs in page.elements if any(key.startswith("on") for key in attrs)]
    assert all(attrs["src"].startswith("data:image/jpeg;base64,") for tag, attrs in page.elements if tag == "img")
    for tag in ("h3", "td", "li", "dd", "figcaption", "p"):
        assert any(EVIL in shown for shown in page.texts[tag]), tag


def test_bytes_of_a_file_name_that_are_no_text_are_spelt_out(tmp_path):
    text = _written(
        tmp_path, small_evaluation(("bad\udcff", "b"), source="road\udce9", conditions=AS_IS, stills=2, sequence=0)
    )
    assert "bad\\udcff" in text and "road\\udce9" in text


def test_all_sections_of_a_whole_evaluation_are_there(page):
    sections = [attrs["id"] for tag, attrs in page.elements if tag == "section"]
    assert sections == [
        "summary",
        "ranking",
        "frames",
        "stress",
        "pictures",
        "pairing",
        "problems",
        "time",
        "origin",
    ]


def test_every_plot_is_there(page):
    svgs = sum(tag == "svg" for tag, _ in page.elements)
    by_source, by_kind = 2 * len(COLUMNS), (len(COLUMNS) + 1) + len(COLUMNS)  # shift has a residual, darkness none
    assert svgs == by_source + by_kind + 2  # ranking and times


def test_the_best_mean_of_each_metric_is_marked_and_explained(page, evaluation):
    rows = [attrs for _, attrs in page.of_class("metric") if "tabindex" in attrs]
    assert [COLUMNS[at].metric.title in row["data-tip"] for at, row in enumerate(rows)] == [True] * len(COLUMNS)
    assert "Less is better" in rows[[column.key for column in COLUMNS].index(CE)]["data-tip"]
    cells = page.texts["td"]
    for at, column in enumerate(COLUMNS):
        means = [evaluation.mean(column.key, method.name) for method in evaluation.methods]
        best = min(means) if column.key == CE else max(means)
        of_row = cells[at * len(means) : (at + 1) * len(means)]
        marks = [attrs["class"] for _, attrs in page.of_class("v")[1 + at * len(means) :]][: len(means)]
        assert [float(cell) for cell in of_row] == pytest.approx(means, abs=5e-5)
        assert marks[means.index(best)] == "v best" and marks.count("v best") == 1


def test_pictures_of_the_worst_and_best_frames_stand_beside_their_figures(page, evaluation, text):
    chosen = [frame for m in evaluation.methods for part in worst_and_best(evaluation, m.name) for frame in part]
    assert len(page.of_class("row")) == len(chosen)
    assert len(page.of_class("pic")) == 3 * len(chosen)
    captions = [caption for caption in page.texts["figcaption"] if "frames:" in caption]
    for frame, caption in zip(chosen, captions, strict=True):
        assert f"{frame.source} / {frame.frame}" in caption
        assert f"EN {frame.values[EN]:.4f}" in caption
    thermal = base64.b64encode(thumbnails_of(evaluation)[chosen[0].source, chosen[0].frame, chosen[0].method,
                                                         chosen[0].condition].thermal).decode()  # fmt: skip
    assert thermal in text


def test_a_frame_without_pictures_is_shown_with_its_figures(tmp_path):
    page = Page(_written(tmp_path, small_evaluation(("a",), conditions=AS_IS), thumbnails={}))
    assert page.of_class("row") and not page.of_class("pic") and not page.faults


def test_pairing_problems_times_and_origin_are_told(page):
    cells = page.texts["td"]
    assert "rgb: 2 unmatched; thermal: 1 late" in cells
    assert "road.png: ends early" in page.texts["li"]
    assert any("ab" * 32 in cell for cell in cells)
    assert "0123abc" in page.texts["dd"]
    assert {column.variant.help for column in COLUMNS} <= set(cells)


def test_an_evaluation_of_one_method_and_condition_has_no_ranking_and_no_stress(tmp_path):
    evaluation = replace(small_evaluation(("a",), conditions=AS_IS, stills=2, sequence=0), stage_ms={})
    page = Page(_written(tmp_path, evaluation))
    ids = {attrs["id"] for tag, attrs in page.elements if tag == "section"}
    assert not page.faults and not ids & {"ranking", "stress", "time"}
    assert {attrs["href"] for tag, attrs in page.elements if tag == "a"} == {f"#{id}" for id in ids}


def test_undefined_figures_are_marked_not_dropped(tmp_path):
    def figures(method, condition, key, frame):
        return math.nan if (method, key) == ("a", CC) else drawn(method, condition, key, frame)

    page = Page(_written(tmp_path, small_evaluation(("a", "b"), figures, conditions=AS_IS, stills=2, sequence=3)))
    (first, *_) = [attrs for tag, attrs in page.elements if tag == "sup"]
    assert first["title"] == "undefined in 5 frames"


def test_the_same_evaluation_gives_the_same_bytes(tmp_path, text):
    assert _written(tmp_path, small_evaluation()) == text


def test_every_plot_stands_alone_as_xml_with_its_texts_as_texts(evaluation):
    drawn_plots = [
        plots.ranking(evaluation),
        plots.times(evaluation),
        plots.over_frames(evaluation, "drive")[EN],
        plots.spread(evaluation, "road")[EN],
        plots.stress(evaluation, "shift")["residual_px"],
    ]
    for svg in drawn_plots:
        root = ET.fromstring(svg)
        assert root.tag.endswith("}svg")
        assert [element for element in root.iter() if element.tag.endswith("}text")]
    assert {"laplacian", "EN", "mean"} <= {text for text in ET.fromstring(drawn_plots[0]).itertext()}


def test_a_line_goes_where_the_figures_go():
    """Twice the rise of a metric is twice the rise of its line, to the resolution of the drawing."""

    def figures(method, condition, key, frame):
        return float(frame) * (2.0 if method == "steep" else 1.0)

    svg = plots.over_frames(small_evaluation(("flat", "steep"), figures), "drive")[EN]
    lines = re.findall(r'class="series s\d"[^>]*>\s*<path d="([^"]+)"', svg)
    ends = [[float(point.split()[1]) for point in re.findall(r"[ML] ([\d.]+ [\d.]+)", line)] for line in lines]
    flat, steep = (points[0] - points[-1] for points in ends)  # y grows downwards
    assert flat > 10 and steep == pytest.approx(2 * flat, abs=0.1)


def test_under_stress_a_line_goes_from_as_recorded_through_mild_to_worst():
    """What falls with the visibility falls from left to right, though the levels in metres fall too."""
    stresses = parse_degradations("fog:40,fog:400,fog:100")
    value = {"as recorded": 1.0, "fog 400 m": 0.9, "fog 100 m": 0.6, "fog 40 m": 0.1}
    evaluation = small_evaluation(
        ("a",),
        lambda m, condition, k, n: value[condition],
        conditions=(*AS_IS, *(Condition(s).facts for s in stresses)),
    )
    svg = plots.stress(evaluation, "fog")[EN]
    ticks = [text for text in ET.fromstring(svg).itertext() if text in ("as recorded", "400", "100", "40")]
    assert ticks == ["as recorded", "400", "100", "40"]
    (line,) = re.findall(r'class="series s0"[^>]*>\s*<path d="([^"]+)"', svg)
    x, y = zip(*((float(a), float(b)) for a, b in re.findall(r"[ML] ([\d.]+) ([\d.]+)", line)), strict=True)
    assert np.diff(x) == pytest.approx([x[1] - x[0]] * 3, abs=0.05)
    fallen = [(height - y[0]) / (y[-1] - y[0]) for height in y]  # y grows downwards
    assert x[1] > x[0] and fallen == pytest.approx([0.0, 0.1 / 0.9, 0.4 / 0.9, 1.0], abs=0.01)


def test_the_page_says_over_which_frames_it_ranks_where_methods_have_different_ones(tmp_path, evaluation, text):
    frames = tuple(f for f in evaluation.frames if f.method != "reconet" or f.source == "drive")
    page = Page(_written(tmp_path, replace(evaluation, frames=frames)))
    told = "Ranked over the 12 frames that all methods have; means are over each method's own frames, 12 to 16 of"
    assert not page.faults
    assert sum(told in paragraph for paragraph in page.texts["p"]) == 3  # on top, under the summary, under stress
    assert any(p.startswith("as recorded, shift 2 px, shift 5 px, darkness 50 %: ") for p in page.texts["p"])
    assert "Ranked over" not in text


def test_methods_without_a_frame_in_common_have_a_page_without_ranking(tmp_path, evaluation):
    own = {"average": "road", "laplacian": "drive", "reconet": "drive"}
    frames = tuple(f for f in evaluation.frames if f.source == own[f.method])
    page = Page(_written(tmp_path, replace(evaluation, frames=frames)))
    assert not page.faults and "ranking" not in {attrs.get("id") for _, attrs in page.elements}
    assert not page.of_class("best")[1:]  # the legend's
    assert "There is no frame that all methods have, so they are not ranked" in page.texts["p"][0]


def test_more_methods_than_colours_stay_distinguishable():
    looks = [style_of(index) for index in range(21)]
    assert len(set(looks)) == 21


def test_a_long_sequence_is_thinned_without_losing_its_mean():
    evaluation = small_evaluation(("a",), lambda m, c, key, n: float(n % 7), stills=0, sequence=1500)
    svg = plots.over_frames(evaluation, "drive")[EN]
    (line,) = re.findall(r'class="series s0"[^>]*>\s*<path d="([^"]+)"', svg)
    assert 300 <= len(re.findall("[ML]", line)) <= 400


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    evaluation = replace(small_evaluation(("a",), conditions=AS_IS, stills=1, sequence=0), stage_ms={})
    with pytest.raises(FusionError, match=r"nowhere.*cannot be written"):
        write_report(evaluation, {}, tmp_path / "nowhere" / "report.html")


@pytest.mark.parametrize("package", ["matplotlib", "jinja2"])
def test_without_a_package_that_it_needs_the_report_says_so(package, tmp_path, repository):
    code = (
        f"import sys; sys.modules[{package!r}] = None; sys.path.insert(0, 'test/unit')\n"
        "from pathlib import Path\n"
        "from small_evaluation import small_evaluation\n"
        "from fusion_ros.errors import FusionError\n"
        "from fusion_ros.evaluation.report import write_report\n"
        "try: write_report(small_evaluation(), {}, Path('never.html'))\n"
        "except FusionError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=repository
    )
    assert f"pip install {package}" in done.stdout, done.stderr
