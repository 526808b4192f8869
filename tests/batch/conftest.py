"""Small surveys: coadds of a few rows, classified by the tiny network."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

# The builders of FITS files stand beside the tests of the readers.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "readers"))


@pytest.fixture
def survey(tmp_path: Path, tiny: Path) -> Path:
    """A folder of three coadds with 4, 10 and 7 rows, each with one on the sky and one dead."""
    from survey_files import write_coadd

    folder = tmp_path / "survey"
    folder.mkdir()
    for number, rows in enumerate((4, 10, 7)):
        write_coadd(folder / f"coadd-{number}.fits", rows, seed=number)
    return folder
