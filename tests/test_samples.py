"""Every file of shared/data/samples, from its bytes to an answer of the installed model."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from astropy.io import fits

import specinfer
from specinfer import Classification, Classifier, ReadError, Spectrum
from specinfer.readers import iter_spectra

# How many spectra each file holds, where that is not one.
SEVERAL = {
    "desi_coadd/coadd-1-80693-thru20210204.fits": 5,
    "desi_coadd/coadd-main-dark-9144.fits": 2,
    "desi_coadd/quasarnp_test_coadd.fits": 25,
    "broken/desi_missing_b_color.fits": 2,
    "marz/emlLogVacuumHelioMultiple.fits": 3,
    "osc_json/SN2013cu.json": 6,
    "osc_json/SN2014L.json": 20,
    "skyportal/spec.csv": 2,
    "snid_lnw/PTF10bzf.lnw": 2,
    "snid_lnw/sn04fz_bsnip.lnw": 3,
    "snid_lnw/sn1998de.lnw": 7,
    "snid_lnw/sn2001cp.lnw": 8,
    "snid_lnw/sn2004bg.lnw": 5,
    "snid_lnw/sn2006bt.lnw": 14,
    "snid_lnw/sn2007hj.lnw": 14,
}
# Rows that cannot be used: all their pixels are masked.
BAD_ROWS = {("desi_coadd/quasarnp_test_coadd.fits", 11): "no_good_pixels"}
# Files that hold no spectrum that can be used, and what their error says.
REFUSED = {
    # Tables of redshifts, without spectra.
    "desi_coadd/redrock-4-80613-thru20210324.fits": ("redshift_catalogue", "coadd-4-80613"),
    "desi_coadd/redrock-special-dark-27247.fits": ("redshift_catalogue", "coadd-special-dark"),
    # Of the two files whose name says that an arm is missing, one has lost all three.
    "broken/desi_missing_z_color.fits": ("no_arms", "fetch the file again"),
    # Wavelengths of 400 to 649 without a unit.
    "broken/skyportal_spectrum_with_nan.txt": ("no_unit", "--unit nm"),
}
# The supernovae of type Ia: all of the folders of CfA (Blondin et al. 2012), BSNIP (Silverman
# et al. 2012; Stahl et al. 2020) and CSP (Folatelli et al. 2013), which published no others,
# and the files of other libraries by the type in their header or, for Superfit, by the name.
IA_FOLDERS = ("flm_cfa", "flm_bsnip", "flm_bsnip2", "csp")
IA_NAMES = ("sn1989b", "sn1998bu", "sn2002cx")
# All other supernovae of known type, by the header, the name or the catalogue's claimed type.
OTHERS = {
    "snid_lnw/PTF10bzf.lnw": "SN Ic-BL",
    "superfit/sn1991ar.u16.dat": "SN Ib",
    "superfit/sn1994I.p01.dat": "SN Ic",
    "superfit/sn1999em.p75.dat": "SN II",
    "osc_json/SN2013cu.json": "SN IIb",
    "osc_json/SN2014L.json": "SN Ic",
}


@dataclass
class Answers:
    """What became of each file, by its path below the samples."""

    results: dict[str, list[Classification]] = field(default_factory=lambda: defaultdict(list))
    spectra: dict[str, list[Spectrum]] = field(default_factory=lambda: defaultdict(list))
    rows: dict[tuple[str, int | None], ReadError] = field(default_factory=dict)
    files: dict[str, ReadError] = field(default_factory=dict)


@pytest.fixture(scope="module")
def names(samples: Path) -> list[str]:
    """All files; there are some of each format."""
    found = [p.relative_to(samples).as_posix() for p in sorted(samples.rglob("*")) if p.is_file()]
    assert len(found) >= 90
    return found


@pytest.fixture(scope="module")
def answers(samples: Path, names: list[str]) -> Answers:
    """One classifier, one batch after the other."""
    found = Answers()
    read: list[tuple[str, Spectrum]] = []
    for name in names:
        try:
            for item in iter_spectra(samples / name):
                if isinstance(item, ReadError):
                    found.rows[name, item.row] = item
                else:
                    read.append((name, item))
                    found.spectra[name].append(item)
        except ReadError as error:
            found.files[name] = error
    results = Classifier(threads=1).classify_many(spectrum for _, spectrum in read)
    for (name, _), result in zip(read, results, strict=True):
        found.results[name].append(result)
    return found


def test_every_file_is_answered_or_refused_for_a_reason(names: list[str], answers: Answers) -> None:
    assert set(answers.files) == set(REFUSED)
    for name, (code, hint) in REFUSED.items():
        error = answers.files[name]
        assert error.code == code
        assert hint in error.message
        assert "\n" not in error.message
    assert {place: error.code for place, error in answers.rows.items()} == BAD_ROWS
    unusable = {name for name, _ in BAD_ROWS}
    for name in set(names) - set(REFUSED):
        expected = SEVERAL.get(name, 1) - (name in unusable)
        results = answers.results[name]
        assert len(results) == expected, name
        for result in results:
            assert result.status == "ok", (name, result.error)


def test_answers_are_whole(answers: Answers) -> None:
    """An answer is a class with its probability, not merely a status."""
    for name, results in answers.results.items():
        for spectrum, result in zip(answers.spectra[name], results, strict=True):
            content = result.to_dict()
            assert content["error"] is None
            assert content["file"].endswith(name)
            assert (content["row"], content["n_pixels"]) == (spectrum.row, spectrum.good.sum())
            assert sum(content["probabilities"].values()) == pytest.approx(1.0, abs=1e-3)
            assert content["probability"] == max(content["probabilities"].values())
            assert content["probabilities"][content["class"]] == content["probability"]
            assert set(spectrum.flags) <= set(content["flags"])


def test_a_missing_arm_is_flagged(answers: Answers) -> None:
    (first, second) = answers.results["broken/desi_missing_b_color.fits"]
    for result in (first, second):
        assert "MISSING_ARM" in result.to_dict()["flags"]
        # Nothing is left of the blue.
        assert result.to_dict()["wavelength_min"] == pytest.approx(5760.0)


def test_one_file_by_the_convenience(samples: Path, answers: Answers) -> None:
    """`specinfer.classify` gives what the batch gave."""
    name = "skyportal/zac_spec.dat"
    single = specinfer.classify(samples / name)
    assert isinstance(single, Classification)
    (batched,) = answers.results[name]
    assert single.class_name == batched.class_name
    assert single.probabilities == pytest.approx(batched.probabilities, abs=1e-4)
    several = specinfer.classify(samples / "desi_coadd" / "quasarnp_test_coadd.fits")
    assert isinstance(several, list)
    statuses = [result.status for result in several]
    assert statuses == ["failed" if row == 11 else "ok" for row in range(25)]


# Truth.


def known_ia(name: str, spectrum: Spectrum) -> bool:
    folder, file = name.split("/")
    if folder == "snid_lnw":
        return str(spectrum.header["TYPE"]).startswith("Ia")
    return folder in IA_FOLDERS or (folder == "superfit" and file.startswith(IA_NAMES))


def test_known_ia_are_ia(answers: Answers) -> None:
    """Most were in the training set, so much less than all of them would show a mistake here."""
    right: dict[str, list[bool]] = defaultdict(list)
    for name, results in answers.results.items():
        for spectrum, result in zip(answers.spectra[name], results, strict=True):
            if known_ia(name, spectrum):
                right[name].append(result.class_name == "SN Ia")
    # 6 + 6 + 4 + 6 files of the folders, 7 of SNID, 3 of Superfit.
    assert len(right) == 32
    assert sum(map(len, right.values())) == 77
    files = [sum(each) / len(each) for each in right.values()]
    assert sum(files) / len(files) >= 0.8, right


def test_redshifts_of_known_ia(answers: Answers) -> None:
    """CSP states the redshift, and SNID templates are at 0; 0.01 is 3000 km/s."""
    distances = []
    for name, results in answers.results.items():
        if not name.startswith(("csp/", "snid_lnw/sn")):
            continue
        for spectrum, result in zip(answers.spectra[name], results, strict=True):
            assert spectrum.redshift is not None
            redshift = result.to_dict()["redshift"]
            distances.append(abs(redshift - spectrum.redshift) / (1.0 + spectrum.redshift))
    assert len(distances) == 6 + 52
    assert sum(distance < 0.01 for distance in distances) / len(distances) >= 0.8


def test_other_supernovae_of_known_type(answers: Answers) -> None:
    """Rare types, and SN 2013cu with its early narrow lines: half of them is asked for."""
    right = []
    for name, kind in OTHERS.items():
        results = answers.results[name]
        right.append(sum(result.class_name == kind for result in results) / len(results))
    assert sum(right) / len(right) >= 0.5, right


def test_sdss_spectra_by_their_pipeline(samples: Path, answers: Answers) -> None:
    """Those of which the SDSS pipeline is sure have its class and redshift."""
    right, count = [], 0
    for name, (result,) in (
        (name, results) for name, results in answers.results.items() if "sdss_spec/" in name
    ):
        (spectrum,) = answers.spectra[name]
        count += 1
        assert result.model is not None
        assert result.model.startswith("survey@")
        if spectrum.header["ZWARNING"] == 0:
            assert result.redshift is not None
            assert spectrum.redshift is not None
            off = abs(result.redshift - spectrum.redshift) / (1.0 + spectrum.redshift)
            right.append(result.class_name == spectrum.header["CLASS"] and off < 0.01)
    assert count == 33
    assert len(right) >= 25
    assert sum(right) / len(right) >= 0.95


def test_a_desi_redshift_is_that_of_redrock(samples: Path, answers: Answers) -> None:
    """An emission-line galaxy: redrock's redshift lies beside the spectrum."""
    folder = samples / "desi_coadd"
    with fits.open(folder / "redrock-4-80613-thru20210324.fits") as hdus:
        row = hdus["REDSHIFTS" if "REDSHIFTS" in hdus else "ZBEST"].data[0]
        target, redshift, kind = str(row["TARGETID"]), float(row["Z"]), str(row["SPECTYPE"])
    (result,) = answers.results["desi_coadd/coadd-4-80613-thru20210324.fits"]
    assert result.object == target
    assert result.class_name == kind == "GALAXY"
    assert result.zwarning == 0
    assert result.redshift == pytest.approx(redshift, abs=3e-5)
