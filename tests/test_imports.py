"""Cheap to start: what importing specinfer must not drag in."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tiny_model import write_fits_spectrum

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
BANNED = (
    *("torch", "scipy", "matplotlib", "pandas", "pyarrow", "dask", "distributed"),
    *("onnxruntime", "training"),
)


def loaded_after(code: str) -> set[str]:
    """Names of the top-level packages (and astropy.io.fits) that a new Python has after `code`."""
    script = (
        f"import sys\n{code}\n"
        "names = {name.split('.')[0] for name in sys.modules}\n"
        "print(*names, *({'astropy.io.fits'} & set(sys.modules)))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(answer.stdout.split())


def test_no_module_imports_what_is_banned() -> None:
    walk = (
        "import importlib, pkgutil, specinfer\n"
        "modules = list(pkgutil.walk_packages(specinfer.__path__, 'specinfer.'))\n"
        "assert len(modules) > 15\n"
        "for module in modules:\n"
        "    importlib.import_module(module.name)\n"
    )
    assert loaded_after(walk).isdisjoint({*BANNED, "astropy.io.fits"})


@pytest.mark.parametrize("module", ["specinfer", "specinfer.cli", "specinfer.errors"])
def test_no_numpy_before_it_is_needed(module: str) -> None:
    assert loaded_after(f"import {module}").isdisjoint({*BANNED, "numpy", "astropy", "rich"})


def test_help_imports_nothing_heavy() -> None:
    code = (
        "from specinfer.cli import app\n"
        "import contextlib, io\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        "    app(['classify', '--help'])\n"
    )
    assert loaded_after(code).isdisjoint({*BANNED, "numpy", "astropy"})


CLASSIFY = (
    "from specinfer.cli import app\n"
    "import contextlib, io\n"
    "out = io.StringIO()\n"
    "with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):\n"
    "    app(['classify', *{arguments!r}])\n"
    'assert \'"status": "ok"\' in out.getvalue()\n'
)
# What a command of this kind starts without; pydantic comes with typer.
UNUSED = {*BANNED, "astropy", "rich", "httpx", "pydantic", "starlette", "watchfiles"} - {
    "onnxruntime"
}


def test_a_text_spectrum_is_classified_without_what_it_does_not_need(
    tiny: Path, tmp_path: Path
) -> None:
    example = next(EXAMPLES.glob("*SIM01.txt"))
    code = CLASSIFY.format(
        arguments=[str(example), "--output", str(tmp_path / "a.jsonl"), "--json"]
    )
    found = loaded_after(f"{code}names_of_ma = 'numpy.ma' in sys.modules\nassert not names_of_ma")
    assert found.isdisjoint(UNUSED), found & UNUSED
    assert "onnxruntime" in found


def test_a_fits_file_needs_astropy_alone_besides(tiny: Path, tmp_path: Path) -> None:
    path = write_fits_spectrum(tmp_path / "a.fits")
    found = loaded_after(CLASSIFY.format(arguments=[str(path)]))
    assert "astropy" in found
    assert found.isdisjoint(UNUSED - {"astropy"}), found & UNUSED


def test_public_names_exist() -> None:
    import specinfer

    for name in specinfer.__all__:
        assert getattr(specinfer, name) is not None
    assert set(dir(specinfer)) == set(specinfer.__all__)
    with pytest.raises(AttributeError, match="nonesuch"):
        _ = specinfer.nonesuch
