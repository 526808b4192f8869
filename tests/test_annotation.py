"""The answer in the headers of a spectrum and of its twin."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import time
from itertools import product
from pathlib import Path

import pytest
from astropy.io import fits
from night_files import CARDS, plain_header, write_pair

import specinfer
from specinfer import Classification, SpecinferError, UsageError, annotate, fits_cards, replacing
from specinfer.annotation import BANNED, make_block
from specinfer.content import KEYS, own_block
from specinfer.gates import STATES
from specinfer.readers import flags as reader_flags

DATE = "2026-11-21T05:10:00"
NUMBERS = ("SPIPROB", "SPIZ", "SPIZERR", "SPIPHASE", "SPINOVEL")


def answer(**changes: object) -> Classification:
    entries: dict[str, object] = {
        "status": "ok",
        "model": "spectranet@0.2.1",
        "class_name": "SN Ia",
        "probability": 0.9957,
        "redshift": 0.05,
        "redshift_err": 0.0021,
        "phase": -3.25,
        "novelty": 1.0,
        "flags": ("AXIS_FROM_HEADER", "Z_AMBIGUOUS"),
    }
    return Classification(**(entries | changes))  # type: ignore[arg-type]


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    return write_pair(tmp_path)


def spi_of(path: Path) -> dict[str, object]:
    """What astropy reads of our cards."""
    header = fits.getheader(path)
    return {key: header[key] for key in KEYS if key in header}


def test_fits_and_text_say_the_same(pair: tuple[Path, Path]) -> None:
    path, twin = pair
    assert annotate(path, answer(), date=DATE) == (path, twin)
    ours = spi_of(path)
    assert ours == {
        "SPITYPE": "SN Ia",
        "SPIPROB": 0.9957,
        "SPIZ": 0.05,
        "SPIZERR": 0.0021,
        "SPIPHASE": -3.2,
        "SPISTAT": "OK",
        "SPIFLAGS": "Z_AMBIGUOUS,AXIS_FROM_HEADER",
        "SPIMODEL": "spectranet@0.2.1",
        "SPINOVEL": 1.0,
        "SPIDATE": DATE,
    }
    text = {key: value for key, value in plain_header(twin).items() if key.startswith("SPI")}
    assert {k: float(v) if k in NUMBERS else v for k, v in text.items()} == ours


def test_only_our_cards_differ(pair: tuple[Path, Path], tmp_path: Path) -> None:
    path, _ = pair
    original = tmp_path / "original.fits"
    original.write_bytes(path.read_bytes())
    annotate(path, answer())
    difference = fits.FITSDiff(str(original), str(path))
    [(_, hdu, _, _)] = difference.diff_hdus
    assert hdu.diff_data.identical
    headers = hdu.diff_headers
    assert not headers.diff_keywords[0]
    assert set(headers.diff_keywords[1]) <= set(KEYS)
    assert set(headers.diff_keywords[1]) >= {"SPITYPE", "SPISTAT", "SPIDATE"}
    assert not headers.diff_keyword_values
    assert not headers.diff_keyword_comments
    # Stricter than fitsdiff: every other card, and all after the header, byte for byte.
    old_cards, old_end = fits_cards.split_header(original.read_bytes())
    cards, end = fits_cards.split_header(path.read_bytes())
    assert [card for card in cards if fits_cards.name_of(card) not in KEYS] == old_cards
    assert path.read_bytes()[end:] == original.read_bytes()[old_end:]


def test_text_block_is_contiguous_at_the_end_of_the_header(pair: tuple[Path, Path]) -> None:
    _, twin = pair
    before = twin.read_text().splitlines()
    annotate(twin, answer())
    lines = twin.read_text().splitlines()
    comments = [line for line in lines if line.startswith("#")]
    ours = [line for line in comments if line.startswith("# SPI")]
    assert lines[: len(comments)] == comments
    assert comments[-len(ours) :] == ours
    assert all(line.count(": ") == 1 and not line.endswith(" ") for line in ours)
    assert "" not in lines
    assert [line for line in lines if line not in ours] == before


def test_what_is_read_stays_the_same(pair: tuple[Path, Path]) -> None:
    before = [specinfer.read(path)[0] for path in pair]
    annotate(pair[0], answer(redshift=0.9, class_name="TDE"))
    for old, path in zip(before, pair, strict=True):
        new = specinfer.read(path)[0]
        for name in ("wavelength", "flux", "ivar"):
            assert getattr(new, name).tobytes() == getattr(old, name).tobytes()
        for name in ("object", "instrument", "mjd", "redshift", "header", "flags", "reader"):
            assert getattr(new, name) == getattr(old, name)


def test_a_real_text_file(samples: Path, tmp_path: Path) -> None:
    source = next(samples.glob("sedm/*.ascii"))
    path = tmp_path / source.name
    path.write_bytes(source.read_bytes())
    assert annotate(path, answer()) == (path,)
    lines = path.read_bytes().splitlines(keepends=True)
    assert b"".join(line for line in lines if not line.startswith(b"# SPI")) == source.read_bytes()
    assert plain_header(path)["SPITYPE"] == "SN Ia"
    for word in BANNED:
        old = [line for line in source.read_text().splitlines() if word in line]
        assert [line for line in path.read_text().splitlines() if word in line] == old
    [spectrum], [original] = specinfer.read(path), specinfer.read(source)
    assert spectrum.flux.tobytes() == original.flux.tobytes()


def test_nothing_that_the_pipeline_looks_for(pair: tuple[Path, Path]) -> None:
    """Its programs take the last word of the first line that has theirs anywhere."""
    _, twin = pair

    def grep(word: str) -> list[str]:
        return [line.split()[-1] for line in twin.read_text().splitlines() if word in line]

    before = {word: grep(word) for word in BANNED}
    assert before["QUALITY"] == ["0"]
    assert before["REQ_ID"] == [CARDS["REQ_ID"]]
    annotate(twin, answer())
    assert {word: grep(word) for word in BANNED} == before


def test_no_value_of_ours_can_hold_a_banned_word() -> None:
    from specinfer.models import load_card
    from specinfer.networks import spectranet_outputs
    from specinfer.zwarn import BITS

    names = [name for name in vars(reader_flags) if name.isupper()]
    names += [*spectranet_outputs.DOUBTS, "Z_AMBIGUOUS", "Z_GIVEN", *BITS]
    for model in ("spectranet", "survey", "gasnet2", "gasnet3"):
        card = load_card(model)
        names += [card.label, *card.classes]
    for name, word in product((*KEYS, *STATES, *names), BANNED):
        assert word not in name
    # Each of them alone and all together as flags.
    for flags in (*((name,) for name in names), tuple(names)):
        block = make_block("OK", answer(flags=flags), DATE)
        assert len(block["SPIFLAGS"]) <= 68
        assert ": " not in block["SPIFLAGS"]


def test_a_model_of_an_unlucky_name_is_refused(pair: tuple[Path, Path]) -> None:
    before = [path.read_bytes() for path in pair]
    with pytest.raises(UsageError, match="rename the model"):
        annotate(pair[0], answer(model="mySNID@1.0"))
    assert [path.read_bytes() for path in pair] == before


def test_the_last_flags_are_counted_where_there_is_no_room() -> None:
    flags = tuple(name for name in vars(reader_flags) if name.isupper())
    text = make_block("LOWQ", answer(flags=("LOW_SNR", *flags)), DATE)["SPIFLAGS"]
    assert text.startswith("LOW_SNR,")
    named = text.split(",")[:-1]
    assert text.endswith(f",+{len(flags) + 1 - len(named)}")
    assert len(text) <= 68


def test_a_second_run_changes_nothing(pair: tuple[Path, Path]) -> None:
    annotate(pair[0], answer(), date=DATE)
    before = [(path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino) for path in pair]
    for path in pair:
        assert annotate(path, answer()) == ()
        # Another answer of the same model does not count either.
        assert annotate(path, answer(class_name="SN II")) == ()
        # Nor does it when the spectrum would only be skipped now.
        assert annotate(path, None, state="MOVING") == ()
    after = [(path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino) for path in pair]
    assert after == before


def test_another_version_and_overwrite_replace_the_block(pair: tuple[Path, Path]) -> None:
    path, twin = pair
    annotate(path, answer(), date=DATE)
    size = path.stat().st_size
    newer = answer(model="spectranet@0.3.0", class_name="Star", redshift=None, redshift_err=None)
    assert annotate(twin, newer) == (path, twin)
    ours = spi_of(path)
    assert ours["SPIMODEL"] == "spectranet@0.3.0"
    assert "SPIZ" not in ours
    assert path.stat().st_size == size
    assert twin.read_text().count("# SPIMODEL") == 1
    assert "# SPIZ:" not in twin.read_text()
    assert annotate(path, answer(model="spectranet@0.3.0"), overwrite=True) == (path, twin)
    assert spi_of(path)["SPITYPE"] == "SN Ia"


def test_a_rerun_moves_the_block_behind_what_others_wrote(pair: tuple[Path, Path]) -> None:
    path, twin = pair
    annotate(path, answer(), date=DATE)
    # As the pipeline's own programs do it: they read, insert, and write in place.
    lines = twin.read_text().splitlines(keepends=True)
    last = max(i for i, line in enumerate(lines) if line.startswith("#"))
    lines.insert(last + 1, "# SNIASCORE: 0.97\n")
    lines.insert(last + 2, "# HISTORY: scored\n")
    twin.write_text("".join(lines))
    with fits.open(path, mode="update") as hdus:
        hdus[0].header["SNIASCOR"] = 0.97
        hdus[0].header["HISTORY"] = "scored"
    assert annotate(path, answer()) == ()
    assert annotate(path, answer(), overwrite=True, date=DATE) == (twin,)
    comments = [line for line in twin.read_text().splitlines() if line.startswith("#")]
    assert comments[-1] == f"# SPIDATE: {DATE}"
    assert comments[-12:-10] == ["# SNIASCORE: 0.97", "# HISTORY: scored"]
    assert fits.getheader(path)["SNIASCOR"] == 0.97
    assert list(fits.getheader(path)["HISTORY"]) == ["cosmic rays removed", "scored"]


def test_a_crash_between_the_files_is_completed_by_a_rerun(
    pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, twin = pair
    before = twin.read_bytes()
    real = os.replace

    def killed(source: str, target: object) -> None:
        if str(target).endswith(".txt"):
            raise KeyboardInterrupt
        real(source, target)  # type: ignore[arg-type]

    monkeypatch.setattr(replacing.os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        annotate(path, answer(), date=DATE)
    monkeypatch.undo()
    assert spi_of(path)["SPIDATE"] == DATE
    assert twin.read_bytes() == before
    assert annotate(path, answer()) == (twin,)
    assert own_block(twin.read_bytes()) == own_block(path.read_bytes())
    assert plain_header(twin)["SPIDATE"] == DATE


def test_one_of_the_two_alone(pair: tuple[Path, Path]) -> None:
    path, twin = pair
    aside = twin.with_suffix(".aside")
    twin.rename(aside)
    assert annotate(path, answer(), date=DATE) == (path,)
    aside.rename(twin)
    # The twin comes later: it gets the same answer with the same date.
    assert annotate(path, answer()) == (twin,)
    assert plain_header(twin)["SPIDATE"] == DATE
    path.unlink()
    assert annotate(twin, answer(model="spectranet@0.3.0")) == (twin,)


def test_a_damaged_fits_file_is_left_alone(pair: tuple[Path, Path]) -> None:
    path, twin = pair
    for version, content in enumerate((b"", path.read_bytes()[:9000])):
        path.write_bytes(content)
        assert annotate(twin, answer(model=f"m@{version}")) == (twin,)
        assert path.read_bytes() == content


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.9, 0.999])
def test_a_twin_that_is_still_being_written_is_left_alone(
    pair: tuple[Path, Path], share: float
) -> None:
    path, twin = pair
    content = twin.read_bytes()
    twin.write_bytes(content[: int(share * len(content))])
    before = [one.read_bytes() for one in pair]
    with pytest.raises(SpecinferError, match="still being written") as caught:
        annotate(path, answer())
    assert caught.value.code == "incomplete_twin"
    assert [one.read_bytes() for one in pair] == before


def test_states_without_an_answer(pair: tuple[Path, Path]) -> None:
    path, twin = pair
    annotate(path, None, state="STD", date=DATE)
    assert spi_of(path) == {"SPISTAT": "STD", "SPIDATE": DATE}
    assert twin.read_text().count("# SPI") == 2
    # An answer takes its place without being asked twice.
    assert annotate(path, answer()) == (path, twin)
    with pytest.raises(UsageError, match="or the state of the spectrum"):
        annotate(path, None)


def test_what_cannot_be_annotated(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("wave,flux\n4000,1\n")
    with pytest.raises(SpecinferError, match="write a sidecar instead") as caught:
        annotate(table, answer())
    assert caught.value.code == "not_annotatable"
    with pytest.raises(SpecinferError) as caught:
        annotate(tmp_path / "none.fits", answer())
    assert caught.value.code == "not_readable"
    with pytest.raises(UsageError, match="several spectra"):
        annotate(table, answer(row=3))


def test_a_read_only_twin_leaves_both(pair: tuple[Path, Path]) -> None:
    path, twin = pair
    twin.chmod(0o444)
    before = [one.read_bytes() for one in pair]
    with pytest.raises(SpecinferError, match="read-only, nothing was changed"):
        annotate(path, answer())
    assert [one.read_bytes() for one in pair] == before


def test_line_ends_and_odd_bytes_stay(pair: tuple[Path, Path]) -> None:
    path, twin = pair
    path.unlink()
    content = twin.read_bytes().replace(b"\n", b"\r\n").replace(b"EMPTY", b"\xe9\xff")
    twin.write_bytes(content)
    annotate(twin, answer())
    changed = twin.read_bytes()
    lines = changed.splitlines(keepends=True)
    assert all(line.endswith(b"\r\n") for line in lines)
    assert b"".join(line for line in lines if not line.startswith(b"# SPI")) == content


def test_links_stay_links(pair: tuple[Path, Path], tmp_path: Path) -> None:
    folder = tmp_path / "today"
    folder.symlink_to(tmp_path)
    night = tmp_path / "night"
    night.mkdir()
    links = [night / path.name for path in pair]
    for link, path in zip(links, pair, strict=True):
        link.symlink_to(path)
    assert annotate(links[0], answer()) == tuple(links)
    assert all(link.is_symlink() for link in links)
    assert annotate(folder / pair[0].name, answer()) == ()
    assert spi_of(pair[0])["SPITYPE"] == "SN Ia"


def test_others_that_write_at_the_same_time_lose_nothing(
    pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, twin = pair
    real = replacing.snapshot
    turns = iter(range(2))

    def written_meanwhile(file: Path) -> replacing.Snapshot:
        taken = real(file)
        if file == twin and next(turns, None) is not None:
            old = twin.read_text()
            twin.write_text("# NOTE: by another program\n" + old)
        return taken

    monkeypatch.setattr("specinfer.annotation.snapshot", written_meanwhile)
    assert annotate(path, answer()) == (path, twin)
    assert twin.read_text().count("by another program") == 2
    assert spi_of(path)["SPITYPE"] == plain_header(twin)["SPITYPE"]


def test_a_writer_without_end_is_reported(
    pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def always(_: object) -> None:
        raise replacing.ChangedMeanwhileError

    monkeypatch.setattr("specinfer.annotation.replace_all", always)
    with pytest.raises(SpecinferError, match="being written by another program"):
        annotate(pair[0], answer())


def test_killed_at_random_moments_and_rerun(tmp_path: Path) -> None:
    """Each file is whole at any moment, and the last run leaves both with one answer."""
    path, twin = write_pair(tmp_path)
    rows = [line for line in twin.read_text().splitlines() if not line.startswith("#")]
    data = fits.getdata(path).tobytes()
    script = (
        "import sys, specinfer\n"
        "from specinfer import Classification\n"
        "print('ready', flush=True)\n"
        "n = 0\n"
        "while True:\n"
        "    n += 1\n"
        "    specinfer.annotate(sys.argv[1], Classification(status='ok', model=f'm@{n}',\n"
        "        class_name='SN Ia', probability=0.9))\n"
    )
    for turn in range(8):
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.03 + 0.017 * turn)
        process.kill()
        process.wait()
        process.stdout.close()
        assert fits_cards.is_whole(path.read_bytes())
        assert fits.getdata(path).tobytes() == data
        lines = twin.read_text().splitlines()
        assert [line for line in lines if not line.startswith("#")] == rows
    annotate(path, answer())
    assert own_block(twin.read_bytes()) == own_block(path.read_bytes())


def test_it_is_a_function_of_the_package() -> None:
    # The import of a module of the same name would hide the function.
    importlib.import_module("specinfer.annotation")
    assert specinfer.annotate is annotate
