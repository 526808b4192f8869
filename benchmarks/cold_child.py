"""Does what ``specinfer classify FILE`` does, one part after the other, and times each.

Run by `benchmarks.cold_parts` in a process of its own; prints one JSON object, the seconds
of each part by name. It imports nothing before the part that needs it.
"""

import sys
import time

_now = time.monotonic()
parts: dict[str, float] = {"the interpreter": _now - float(sys.argv[2])}


def done(name: str) -> None:
    """The part since the last one has this name."""
    global _now
    present = time.monotonic()
    parts[name] = present - _now
    _now = present


def main(path: str) -> None:
    """All parts, in the order of the command."""
    from specinfer import cli_start

    cli_start.hold_garbage()
    import typer

    done("import typer")
    from specinfer import cli

    done("import the command line")
    group = typer.main.get_command(cli_start.only(cli.app, ["classify"]))
    command = group.commands["classify"]  # type: ignore[attr-defined]
    command.callback = lambda **_: None
    group(["classify", path], standalone_mode=False)
    done("set up and read the options")
    import numpy as np

    done("import numpy")
    import onnxruntime  # noqa: F401

    done("import onnxruntime")
    from specinfer.models import load_card, read_model

    done("import the models")
    card = load_card("spectranet")
    done("read the card")
    content = read_model(card)
    done("read the model, check its hash")
    from specinfer.networks import loading

    # It is read already.
    loading.read_model = lambda _: content
    session = loading.open_session(card, "auto", None)
    _ = session.session
    done("make the session")
    session.warm_up()
    done("first inference")
    from specinfer import cli_classify, result

    done("import the classifier, readers, outputs")
    from specinfer.config import load_config

    settings = load_config(None)
    settings.skip.rules()
    done("the configuration")
    from specinfer.networks.spectranet import SpectraNet
    from specinfer.readers import read

    spectrum = read(path)[0]
    done("read the spectrum")
    network = SpectraNet(session, card)  # type: ignore[arg-type]
    _ = network.checked_session
    done("check the network against its card")
    prepared = network.prepare(spectrum)
    done("preprocess")
    raw = network.run(np.stack([prepared.input]))
    done("inference")
    answer = network.interpreter.answer(
        network.interpreter.numbers(raw)[0],
        prepared,
        spectrum,
        None,
        None,
        network.config.wavelength,
    )
    made = result.ok(spectrum, answer, model=card.label, latency_ms=0.0)
    done("interpret")
    made.to_json()
    done("report: JSON")
    import contextlib
    import io

    with contextlib.redirect_stdout(io.StringIO()):
        table = cli_classify.Table(3)
        table.write([made])
        table.close()
    done("report: a table, on a terminal only")


if __name__ == "__main__":
    main(sys.argv[1])
    import json

    print(json.dumps({"parts": parts, "end": time.monotonic()}))
    from specinfer.cli_start import leave

    leave(0)
