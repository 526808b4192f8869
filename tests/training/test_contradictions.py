"""A redshift that the features deny is found, and nothing else is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed (pip install 'specinfer[train]')")
pytest.importorskip("pyarrow", reason="pyarrow is not installed (pip install 'specinfer[train]')")

from tiny_training import CENTRES, GRID_PIXELS, make_library, write_inputs, write_recipe

from training.archive.contradictions import denied_rows, find_contradictions
from training.archive.correlation import choose_templates, correlate, flatten
from training.archive.library import Library
from training.config import read_recipe
from training.run import usable_rows

SHIFT = 0.07
GOOD = (CENTRES > 3200.0) & (CENTRES < 9500.0)


def supernova(shift: float = 0.0, seed: int = 0, noise: float = 0.02) -> np.ndarray:
    """Broad features, moved by a shift in ln(lambda), with noise."""
    flux = np.ones(GRID_PIXELS)
    for centre, depth in ((3800, 0.5), (4400, -0.4), (5000, 0.5), (5500, 0.4), (6150, 0.6)):
        x = np.log(CENTRES / centre) - shift
        flux -= depth * np.exp(-0.5 * (x / 0.015) ** 2)
    return flux + noise * np.random.default_rng(seed).normal(size=GRID_PIXELS)


@pytest.fixture(scope="module")
def library() -> Library:
    rows = [
        {"flux": supernova(seed=i), "label": "SN Ia", "flattened": True, "phase": 0.0}
        for i in range(6)
    ]
    slope = (CENTRES / 5000.0) ** -2
    rows += [
        {"flux": slope * supernova(seed=10), "label": "SN Ia", "object": "right"},
        {"flux": slope * supernova(SHIFT, seed=11), "label": "SN Ia", "object": "wrong"},
        {"flux": slope * supernova(0.01, seed=12), "label": "SN Ia", "object": "fast"},
        {"flux": 1.0 + np.random.default_rng(1).normal(size=GRID_PIXELS), "label": "SN Ia"},
        {"flux": slope, "label": "SN Ia", "object": "featureless"},
    ]
    return make_library([row | {"good": GOOD} for row in rows])


def test_only_the_moved_spectrum_is_denied(library: Library) -> None:
    templates = choose_templates(library, np.arange(6))
    assert sorted(templates) == list(range(6))
    found = find_contradictions(library, templates, np.arange(6, len(library)))
    assert [entry["object"] for entry in found] == ["wrong"]
    assert found[0]["shift"] == pytest.approx(SHIFT, abs=0.006)
    assert found[0]["correlation"] > found[0]["at_stated_redshift"] + 0.25


def test_correlation_is_one_with_itself_and_knows_no_continuum(library: Library) -> None:
    flat = flatten(library, np.array([0, 6]))
    values = correlate(flat[0], flat)
    middle = values.shape[1] // 2
    assert values[0].argmax() == middle
    assert values[0, middle] == pytest.approx(1.0, abs=1e-6)
    assert values[1, middle] > 0.95


def test_too_little_in_common_does_not_count(library: Library) -> None:
    flat = flatten(library, np.array([0]))
    narrow = np.where((CENTRES > 5000) & (CENTRES < 6000), 1.0, 0.0)
    few = flat[0] * narrow[: flat.shape[1] * 4 : 4]
    assert correlate(few, flat).max() == -1.0


def test_listed_rows_are_not_used(tmp_path: Path) -> None:
    inputs = write_inputs(tmp_path)
    library = Library.load(inputs[0])
    recipe_path = write_recipe(tmp_path / "tiny.toml", inputs)
    every = usable_rows(read_recipe(recipe_path), library, "train")
    row = int(every[0])
    listed = tmp_path / "denied.json"
    listed.write_text(json.dumps({"rows": [{"row": row, "object": str(library.object[row])}]}))
    text = recipe_path.read_text().replace(
        'contradicted = ""', f"contradicted = {json.dumps(str(listed))}"
    )
    recipe_path.write_text(text)
    np.testing.assert_array_equal(
        usable_rows(read_recipe(recipe_path), library, "train"), every[1:]
    )
    listed.write_text(json.dumps({"rows": [{"row": row, "object": "of another library"}]}))
    with pytest.raises(SystemExit, match="another library"):
        denied_rows(library, listed)
