"""The networks: shapes, correlation over shifts, and the same numbers in ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="the architectures are PyTorch's (extra 'train')")
pytest.importorskip("pyarrow", reason="the export imports the library (extra 'train')")
pytest.importorskip("onnxscript", reason="the export needs onnxscript (extra 'train')")

import torch
from torch.nn.functional import conv1d, pad

from specinfer.engine import Session
from training.architectures import (
    Network,
    NetworkConfig,
    architecture_name,
    build,
    count_parameters,
    from_block,
    named,
)
from training.architectures.aligned import AlignedConfig, AlignedNet
from training.architectures.correlate import ShiftCorrelation
from training.architectures.fuse import fuse
from training.architectures.published import PublishedConfig, PublishedNet
from training.config import read_recipe
from training.cost import count_flops, measure_cost
from training.export import to_onnx
from training.paths import ROOT

TINY_PUBLISHED = {
    "n_pixels": 256,
    "widths": (4, 6, 8, 8, 12),
    "kernels": (3, 15, 255, 3, 9, 63, 3, 5, 15, 3, 5, 9, 1, 3, 5),
    "hidden": 8,
    "pool": 2,
}
TINY: dict[str, NetworkConfig] = {
    "aligned": AlignedConfig(
        n_pixels=256, n_redshift=160, n_shifts=40, template_length=80, widths=(12, 8, 8, 12),
        stem_kernels=(5, 9, 31), n_features=4, n_templates=6, n_evidence=8, embedding=16,
    ),
    "class": PublishedConfig(task="class", **TINY_PUBLISHED),
    "redshift": PublishedConfig(task="redshift", **TINY_PUBLISHED),
}  # fmt: skip
every = pytest.mark.parametrize("name", TINY)


def spectra(count: int, n_pixels: int = 256) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 3, n_pixels, generator=generator)


def network_of(config: NetworkConfig) -> Network:
    """Random weights; statistics and scales of normalisation that no fresh layer has."""
    torch.manual_seed(0)
    network = build(config)
    network.train()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
        for _ in range(3):
            network(2.0 * spectra(8, config.n_pixels) + 0.3)
    return network.eval()


def answer(network: Network, spectrum: torch.Tensor) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        return named(network, network(spectrum))


# --- all of them ------------------------------------------------------------------------


@every
def test_outputs_have_the_shapes_of_their_names(name: str) -> None:
    config = TINY[name]
    made = answer(network_of(config), spectra(3))
    sizes: dict[str, Any] = {
        "class_logits": config.n_classes, "redshift_logits": 160, "phase_logits": config.n_phase,
        "subtype_logits": 5, "host_logit": 1, "redshift": 1,
        "embedding": getattr(config, "embedding", None),
    }  # fmt: skip
    for output, values in made.items():
        assert values.shape == (3, sizes[output]), output
        assert torch.all(torch.isfinite(values))


@every
def test_folding_changes_no_output(name: str) -> None:
    network = network_of(TINY[name])
    before, after = answer(network, spectra(6)), answer(fuse(network), spectra(6))
    for output, values in before.items():
        torch.testing.assert_close(after[output], values, rtol=1e-4, atol=1e-5, msg=output)
    assert not any(isinstance(m, torch.nn.BatchNorm1d) for m in fuse(network).modules())
    # A copy is folded: the network goes on training as it was.
    assert set(network.state_dict()) == set(build(TINY[name]).state_dict())


@every
def test_outputs_do_not_depend_on_the_batch(name: str) -> None:
    network, spectrum = network_of(TINY[name]), spectra(7)
    together = answer(network, spectrum)
    alone = answer(network, spectrum[3:4])
    mirrored = answer(network, spectrum.flip(0))
    for output, values in together.items():
        torch.testing.assert_close(alone[output][0], values[3], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(mirrored[output][3], values[3], rtol=1e-4, atol=1e-5)


@every
def test_onnx_gives_the_same_numbers(name: str) -> None:
    network = network_of(TINY[name])
    model = to_onnx(fuse(network))
    session = Session(model.SerializeToString(), name=name, device="cpu", threads=1)
    assert session.output_names == network.outputs
    # The exporter saw two spectra.
    for count in (1, 5):
        expected = answer(network, spectra(count))
        given = session.run({"spectrum": spectra(count).numpy()})
        for output, values in expected.items():
            assert np.abs(given[output] - values.numpy()).max() < 1e-4, output
    # Weights keep their names, so that they can be read back from a file.
    initializers = {item.name for item in model.graph.initializer}
    assert set(fuse(network).state_dict()) <= initializers


@every
def test_cards_and_recipes_name_the_architecture(name: str) -> None:
    config = TINY[name]
    block = {"architecture": architecture_name(config), **vars(config)}
    assert from_block({k: list(v) if isinstance(v, tuple) else v for k, v in block.items()}) == (
        config
    )


# --- correlation over shifts ------------------------------------------------------------


def correlation() -> tuple[ShiftCorrelation, torch.Tensor]:
    torch.manual_seed(2)
    layer = ShiftCorrelation(5, 7, n_steps=64, template_length=83, n_shifts=40)
    with torch.no_grad():
        layer.bias.normal_()
    return layer, torch.randn(3, 5, 64)


def direct(layer: ShiftCorrelation, features: torch.Tensor) -> torch.Tensor:
    """The definition: a convolution with templates as long as the spectrum."""
    padded = pad(features, (layer.lead, layer.n_shifts - 1))
    return conv1d(padded, layer.weight, layer.bias)


def test_correlation_by_transform_is_a_convolution() -> None:
    layer, features = correlation()
    with torch.no_grad():
        made, expected = layer(features), direct(layer, features)
    assert made.shape == (3, 7, 40)
    torch.testing.assert_close(made, expected, rtol=1e-4, atol=1e-5)
    # The transform gives the same gradients, too.
    gradients = []
    for function in (layer, lambda x: direct(layer, x)):
        layer.zero_grad()
        function(features).square().sum().backward()
        assert layer.weight.grad is not None
        gradients.append(layer.weight.grad.clone())
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("n_shifts", [39, 40])
def test_correlation_by_matrix_products_is_the_same(n_shifts: int) -> None:
    """For odd and even lengths of the transform: the last frequency counts differently."""
    torch.manual_seed(2)
    layer = ShiftCorrelation(5, 7, n_steps=64, template_length=83, n_shifts=n_shifts)
    features = torch.randn(3, 5, 64)
    with torch.no_grad():
        expected = direct(layer, features)
        layer.as_products = True
        torch.testing.assert_close(layer(features), expected, rtol=1e-4, atol=1e-5)


def test_correlation_finds_the_shift() -> None:
    """A template moved by s steps has its largest correlation at shift s."""
    layer = ShiftCorrelation(2, 1, n_steps=64, template_length=83, n_shifts=40)
    torch.manual_seed(3)
    pattern = torch.randn(2, 10)
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[0, :, 30:40] = pattern
        for shift in (0, 7, 23, 39):
            features = torch.zeros(1, 2, 64)
            start = 30 + shift - layer.lead
            features[0, :, start : start + 10] = pattern
            made = layer(features)[0, 0]
            assert int(made.argmax()) == shift
            assert float(made[shift]) == pytest.approx(float(pattern.square().sum()), rel=1e-4)


def test_correlation_keeps_float32_in_a_lower_precision() -> None:
    layer, features = correlation()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        made = layer(features.bfloat16())
    assert made.dtype == torch.float32
    expected = direct(layer, features.bfloat16().float())
    torch.testing.assert_close(made, expected.detach(), rtol=1e-4, atol=1e-4)


# --- a shift of the spectrum is a shift of p(z) -----------------------------------------


def test_a_shift_of_the_input_moves_the_scores() -> None:
    """Eight grid pixels are two feature steps (one coarse step) and four redshift bins.

    The dense part of the redshift, which may know absolute wavelengths, is taken out, and
    with it the gate, which looks at the spectrum as a whole. Without biases an empty
    spectrum has no features, and its edges say nothing.
    """
    network = network_of(TINY["aligned"])
    assert isinstance(network, AlignedNet)
    with torch.no_grad():
        for parameter in (*network.dense_redshift.parameters(), network.gate.weight):
            parameter.zero_()
        for part in (network.stem, network.stem_norm, network.stages, network.fine, network.coarse):
            for name, values in part.state_dict().items():
                if name.endswith(("bias", "running_mean")):
                    values.zero_()
        network.correlate.bias.zero_()
    spectrum = torch.zeros(1, 3, 256)
    torch.manual_seed(4)
    spectrum[:, 0, 100:140] = torch.randn(40)
    one = answer(network, spectrum)["redshift_logits"]
    two = answer(network, torch.roll(spectrum, 8, dims=2))["redshift_logits"]
    # The last convolutions see their padding at the first and the last shifts.
    torch.testing.assert_close(two[:, 14:64], one[:, 10:60], rtol=1e-3, atol=1e-5)
    assert float((two[:, 14:64] - one[:, 14:64]).abs().max()) > 1e-3
    # Beyond the shifts the dense part answers alone.
    assert torch.all(one[:, 80:] == 0)


def test_evidence_at_the_believed_redshift_reaches_the_class() -> None:
    """Another belief about the redshift, another class: the heads read at the redshift."""
    network = network_of(TINY["aligned"])
    assert isinstance(network, AlignedNet)
    spectrum = spectra(1)
    before = answer(network, spectrum)
    last = network.dense_redshift[2]
    assert isinstance(last, torch.nn.Linear)
    with torch.no_grad():
        last.bias[30:32] += 50.0
    after = answer(network, spectrum)
    assert int(after["redshift_logits"].argmax()) in (30, 31)
    assert float((after["class_logits"] - before["class_logits"]).abs().max()) > 1e-4


# --- the published network --------------------------------------------------------------


def test_published_network_is_as_large_as_published() -> None:
    for task in ("class", "redshift"):
        with torch.device("meta"):
            network = PublishedNet(PublishedConfig(task=task))
        assert count_parameters(network) == pytest.approx(25.2e6, rel=2e-3)


def test_published_operations_are_those_published() -> None:
    """By hand: multiply-adds of a stage are its length times its weights."""
    config = PublishedConfig()
    length, before, total = config.n_pixels, 1, 0
    for index, width in enumerate(config.widths):
        kernels = config.kernels[3 * index : 3 * index + 3]
        last = index == len(config.widths) - 1
        total += length * (before * width * sum(kernels) + (0 if last else 3 * width * width))
        length, before = length // config.pool, width
    total += 3 * config.widths[-1] * config.hidden + config.hidden * config.n_classes
    assert 2 * total == pytest.approx(8.2e9, rel=5e-3)


@pytest.mark.parametrize("task", ["class", "redshift"])
def test_published_network_looks_at_the_flux_alone(task: str) -> None:
    network, spectrum = network_of(TINY[task]), spectra(2)
    other = spectrum.clone()
    other[:, 1] = 0.0
    for one, two in zip(network(spectrum), network(other), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=0)
    if task == "redshift":
        assert torch.all(network(100.0 * spectrum)[0] >= 0)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"task": "phase"}, "task"),
        ({"kernels": (3, 5, 7)}, "kernels"),
        ({"kernels": (4,) * 15}, "odd"),
        ({"n_pixels": 1000}, "pooled"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        PublishedConfig(**changed)


def test_recipes_that_do_not_fit_end_with_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    for line, words in (
        ('[network]\narchitecture = "published"\ntask = "phase"', "task"),
        ('[training]\nclass_weights = "heavy"', "class_weights"),
    ):
        path.write_text(f'name = "x"\nversion = "0"\n{line}\n')
        with pytest.raises(SystemExit, match=words):
            read_recipe(path)


def test_small_recipes_of_the_published_network_have_its_topology() -> None:
    for name in ("class", "class-uniform", "redshift"):
        small = read_recipe(ROOT / "training" / "configs" / f"published-small-{name}.toml")
        full = read_recipe(ROOT / "training" / "configs" / f"published-{name}.toml")
        assert isinstance(small.network, PublishedConfig)
        assert isinstance(full.network, PublishedConfig)
        assert full.network == PublishedConfig(task=small.network.task)
        assert len(small.network.widths) == len(full.network.widths)
        assert [4 * w for w in small.network.widths] == list(full.network.widths)
        assert 4 * small.network.n_pixels == full.network.n_pixels
        # The same data, and the same losses.
        assert small.data == full.data
        assert small.conditions == full.conditions
        assert small.training.class_weights == full.training.class_weights
        assert small.training.focal_gamma == full.training.focal_gamma


# --- cost -------------------------------------------------------------------------------


def test_operations_are_counted_by_the_graph() -> None:
    config = TINY["class"]
    network = network_of(config)
    counted = [0]

    def add(module: Any, _: Any, output: torch.Tensor) -> None:
        counted[0] += 2 * module.weight.numel() * (output.shape[2] if output.ndim == 3 else 1)

    for module in network.modules():
        if isinstance(module, torch.nn.Conv1d | torch.nn.Linear):
            module.register_forward_hook(add)
    answer(network, spectra(1))
    assert count_flops(to_onnx(fuse(build(config).eval()))) == counted[0]


def test_what_is_done_at_loading_is_not_counted() -> None:
    """The templates' transform is a product of constants, done once."""
    config = TINY["aligned"]
    assert isinstance(config, AlignedConfig)
    layer = ShiftCorrelation(4, 6, n_steps=64, template_length=80, n_shifts=40).eval()
    layer.as_products = True
    layer.outputs = ("correlation",)  # type: ignore[assignment]
    half = layer.length // 2 + 1
    features = 4 * 64 * 2 * half
    product = half * (2 * 4) * (2 * 6)
    back = 6 * 2 * half * 40

    class Whole(torch.nn.Module):
        outputs = ("correlation",)
        config = AlignedConfig(n_pixels=64)

        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, spectrum: torch.Tensor) -> tuple[torch.Tensor]:
            return (self.layer(torch.cat([spectrum, spectrum[:, :1]], dim=1)),)

    assert count_flops(to_onnx(Whole())) == 2 * (features + product + back)  # type: ignore[arg-type]


def test_cost_is_measured() -> None:
    cost = measure_cost(network_of(TINY["class"]), seconds=0.01)
    assert cost.parameters == count_parameters(build(TINY["class"]))
    assert cost.onnx_bytes > 4 * cost.parameters
    assert (cost.one.batch, cost.one.threads) == (1, 1)
    assert (cost.many.batch, cost.many.threads) == (64, 2)
    for latency in (cost.one, cost.many):
        assert latency.calls >= 3
        assert 0.0 < latency.p5 <= latency.median <= latency.p95
