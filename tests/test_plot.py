"""Pictures: the lines are where they should be, labels apart, the PNG is a picture."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from tiny_model import CLASSES, N_PIXELS, fake_spectrum, write_model

from specinfer import Classification, Classifier, ReadError, SpecinferError, plot
from specinfer.lines import lines_of
from specinfer.result import failed
from specinfer.wavelengths import air_to_vacuum

pytest.importorskip("matplotlib", reason="pictures are an optional extra")


@pytest.fixture
def result(tiny: Path) -> Classification:
    return Classifier().classify(fake_spectrum(3, object="ZTF20abwdwoa [A] $x"))


def test_png_is_written(result: Classification, tmp_path: Path) -> None:
    target = tmp_path / "new" / "picture.png"
    plot.save(result, target)
    content = target.read_bytes()
    assert content.startswith(b"\x89PNG")
    assert len(content) > 30_000
    assert [path.name for path in target.parent.iterdir()] == ["picture.png"]


def test_picture_shows_the_four_views(result: Classification) -> None:
    figure = plot.make_figure(result)
    assert len(figure.axes) == 4
    labels = " ".join(axes.get_xlabel() + axes.get_ylabel() for axes in figure.axes)
    for text in ("vacuum wavelength", "network", "probability", "redshift", "1σ"):
        assert text in labels
    assert "ZTF20abwdwoa [A]" in figure.get_suptitle()


def test_given_redshift_has_its_own_picture(tiny: Path, tmp_path: Path) -> None:
    figure = plot.make_figure(Classifier().classify(fake_spectrum(3), 0.1))
    assert "was given" in figure.axes[3].get_title()


def test_lines_stand_at_the_redshift(result: Classification) -> None:
    axes = plot.draw_classification(result)
    marked = sorted(
        float(np.asarray(line.get_xdata())[0])
        for line in axes.lines
        if len(np.asarray(line.get_xdata())) == 2
    )
    assert result.class_name is not None
    assert result.redshift is not None
    low, high = axes.get_xlim()
    expected = [line.wavelength * (1 + result.redshift) for line in lines_of(result.class_name)]
    assert marked == pytest.approx([x for x in expected if low < x < high])


def test_labels_do_not_overlap(result: Classification) -> None:
    axes = plot.make_figure(result).axes[0]
    axes.figure.canvas.draw()
    boxes = [text.get_window_extent() for text in axes.texts]
    assert boxes
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[i + 1 :])


@pytest.mark.parametrize("redshift", [None, 0.1])
def test_relevance_stands_below_the_spectrum(tiny: Path, redshift: float | None) -> None:
    """Its panel and the network's are aligned with the spectrum; its names keep apart."""
    from matplotlib.text import Text

    classifier = Classifier(device="cpu", threads=1)
    result = classifier.classify(fake_spectrum(3), redshift)
    relevance = classifier.explain(result)
    figure = result.plot(relevance=relevance)
    assert len(figure.axes) == 5
    top, strip, middle = figure.axes[:3]
    assert strip.get_xlim() == top.get_xlim()
    rest = 1.0 + (redshift or 0.0)
    assert np.array(middle.get_xlim()) * rest == pytest.approx(top.get_xlim())
    assert "relevance" in strip.get_ylabel()
    left, right = top.get_xlim()
    shown = {peak.name for peak in relevance.peaks if left < peak.wavelength < right}
    assert {text.get_text() for text in strip.texts} == shown
    assert shown
    figure.canvas.draw()
    # Of the names alone: an annotation's own box holds its line, too.
    boxes = [Text.get_window_extent(text) for text in strip.texts]
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[i + 1 :])


def test_long_names_side_by_side_do_not_overlap() -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    from specinfer.plot_panels import draw_relevance
    from specinfer.relevance import Peak, Relevance

    names = ["[O I] 6300, 6364", "[Ca II] 7291, 7324", "N III 4640 (Bowen)", "Si II 6355", "Hβ"]
    x = np.linspace(3800.0, 9200.0, 900)
    peaks = tuple(Peak(name, 6000.0 + 20.0 * i, 1.0) for i, name in enumerate(names))
    figure = Figure(figsize=(11.0, 2.0))
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_xlim(3800.0, 9200.0)
    draw_relevance(Relevance("SN Ib", x, np.sin(x / 300.0), None, peaks), axes)
    figure.canvas.draw()
    boxes = [Text.get_window_extent(text) for text in axes.texts]
    assert len(boxes) == 5
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[i + 1 :])


def test_a_denied_redshift_is_shown_with_p_of_z(tmp_path: Path) -> None:
    redshift = np.zeros((2 * N_PIXELS, 200))
    redshift[N_PIXELS:, 20:24] = 0.05
    folder = write_model(tmp_path, trust=True, weights={"redshift_logits": redshift})
    result = Classifier(str(folder), device="cpu", threads=1).classify(fake_spectrum(3), 0.3)
    figure = plot.make_figure(result)
    panel = figure.axes[3]
    assert "excluded" in panel.get_title()
    low, high = panel.get_xlim()
    assert low < 0.043 < 0.3 < high
    assert "review" in figure.get_suptitle()


@pytest.mark.parametrize("redshift", [0.0, 0.01, 0.05, 0.1, 0.3])
@pytest.mark.parametrize("name", ["SN Ia", "SN Ib", "galaxy", "AGN", "star"])
def test_spread_labels_keep_their_distance(name: str, redshift: float) -> None:
    wanted = [line.wavelength * (1 + redshift) for line in lines_of(name)]
    inside = [x for x in wanted if 3800 < x < 9200]
    places = plot.spread_labels(inside, 104.0, 3800, 9200)
    assert len(places) == len(inside)
    assert np.all(np.diff(places) >= 104.0 - 1e-6)
    assert min(places) >= 3800
    assert max(places) <= 9200
    assert np.max(np.abs(np.array(places) - inside)) < 500


def test_spread_labels_leaves_lonely_ones_alone() -> None:
    assert plot.spread_labels([4000.0, 5000.0], 100.0, 3000, 9000) == [4000.0, 5000.0]
    assert plot.spread_labels([], 100.0, 3000, 9000) == []


def test_methods_draw_into_given_axes(result: Classification) -> None:
    from matplotlib.figure import Figure

    axes = Figure().add_subplot()
    assert result.plot(axes) is axes
    assert result.spectrum is not None
    assert result.spectrum.plot(axes) is axes
    assert len(result.plot().axes) == 4


def test_spectrum_without_errors_or_with_gaps() -> None:
    spectrum = fake_spectrum(1)
    mask = np.zeros(214, bool)
    mask[50:80] = True
    axes = plot.draw_spectrum(spectrum.replace(ivar=None, mask=mask))
    assert not axes.collections
    assert "1σ" not in axes.get_ylabel()


def test_failed_result_has_no_picture() -> None:
    with pytest.raises(SpecinferError, match="the file is empty") as caught:
        plot.make_figure(failed(ReadError("empty_file", "the file is empty")))
    assert caught.value.code == "nothing_to_plot"


def test_missing_matplotlib_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SpecinferError, match=r"pip install 'specinfer\[plot\]'") as caught:
        plot.require_matplotlib()
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("name", "air"),
    [
        ("Hα", 6562.80),
        ("Hβ", 4861.33),
        ("Hγ", 4340.47),
        ("Hδ", 4101.74),
        ("[O III] 4959", 4958.91),
        ("[O III] 5007", 5006.84),
        ("[N II]", 6583.45),
        ("Ca K", 3933.66),
        ("Ca H", 3968.47),
        ("He I 5876", 5875.62),
        ("He I 6678", 6678.15),
        ("He I 7065", 7065.19),
        ("Si II 6355", 6355.1),
        ("Fe II 5169", 5169.03),
    ],
)
def test_rest_wavelengths_are_vacuum(name: str, air: float) -> None:
    """Air wavelengths of the NIST database, converted, to 0.3 Angstrom."""
    every = {line.name: line.wavelength for c in (*CLASSES, "SN Ib", "AGN") for line in lines_of(c)}
    assert every[name] == pytest.approx(float(air_to_vacuum(np.array([air]))[0]), abs=0.3)


def test_every_class_has_lines() -> None:
    for name in ("SN Ia", "SN Ic-BL", "SN IIb", "SN Ibn", "SLSN-I", "TDE", "CV", "something else"):
        found = lines_of(name)
        assert found
        assert [line.wavelength for line in found] == sorted(line.wavelength for line in found)
    assert any(line.name == "He I 5876" for line in lines_of("SN IIb"))
    assert not any(line.name.startswith("H") for line in lines_of("SN Ic-BL"))
