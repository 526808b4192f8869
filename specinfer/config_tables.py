"""The tables of the configuration: every key, its default, what it may be and what it does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from specinfer.config_kinds import (
    FLAG,
    HOST,
    PATH,
    PATTERN,
    TEXT,
    URL,
    WORDS,
    choice,
    listing,
    number,
    option,
    table,
    whole,
)

if TYPE_CHECKING:
    from specinfer.gates import SkipRules


@dataclass(frozen=True)
class SkipConfig:
    """Which spectra the pipeline leaves alone; False classifies them, too."""

    standards: bool = field(
        default=True, metadata=option(FLAG, "leave out standard stars, by IMGTYPE and name")
    )
    galaxies: bool = field(
        default=True, metadata=option(FLAG, "leave out catalogued galaxies and stars, by name")
    )
    uncalibrated: bool = field(
        default=True, metadata=option(FLAG, "leave out spectra without flux calibration")
    )
    moving: bool = field(
        default=True, metadata=option(FLAG, "leave out targets that move (RA_RATE, DEC_RATE)")
    )
    quality: bool = field(default=True, metadata=option(FLAG, "leave out QUALITY 3 and 4"))

    def rules(self) -> SkipRules:
        """As the gates of the pipeline take them."""
        from specinfer.gates import SkipRules

        return SkipRules(**asdict(self))


@dataclass(frozen=True)
class DecisionConfig:
    """What holds an answer back that the model would let go without a human.

    It can only hold back more than the model does: an answer that the model marked for
    review stays so.
    """

    minimum: Mapping[str, float] = field(
        default_factory=dict,
        metadata=option(
            table(number(0, 1), "classes and probabilities from 0 to 1"),
            "least probability, by class, for a classification to be posted",
        ),
    )
    hold: tuple[str, ...] = field(
        default=(),
        metadata=option(
            listing(TEXT, "names of flags"), "flags that keep a classification from being posted"
        ),
    )


@dataclass(frozen=True)
class SkyPortalConfig:
    """Where and what to post; without the table ``[skyportal]`` nothing is."""

    url: str = field(metadata=option(URL, "the portal, without /api"))
    token_file: Path | None = field(
        default=None,
        metadata=option(PATH, "file with the token, mode 600; SPECINFER_SKYPORTAL_TOKEN wins"),
    )
    origin: str = field(
        default="sedm:specinfer", metadata=option(TEXT, "whose annotations and classes these are")
    )
    taxonomy: str = field(
        default="Sitewide Taxonomy", metadata=option(TEXT, "name of the portal's taxonomy")
    )
    classes: Mapping[str, str] = field(
        default_factory=dict,
        metadata=option(
            table(WORDS, "classes and their names at the portal"),
            'names of classes at the portal that differ from the default; "" is never posted',
        ),
    )
    annotations: bool = field(default=True, metadata=option(FLAG, "post annotations"))
    classifications: bool = field(
        default=True, metadata=option(FLAG, "post classes that need no review")
    )
    comments: bool = field(default=True, metadata=option(FLAG, "post the picture as a comment"))
    redshift: bool = field(
        default=False, metadata=option(FLAG, "set the redshift of sources that have none")
    )
    group_ids: tuple[int, ...] = field(
        default=(),
        metadata=option(
            listing(whole(1), "whole numbers"), "groups that see the posts; none is the default's"
        ),
    )
    dry_run: bool = field(
        default=False, metadata=option(FLAG, "say what would be posted, post nothing")
    )
    timeout: float = field(
        default=30.0, metadata=option(number(0.05, 600), "seconds to wait for an answer")
    )
    rate: float = field(default=5.0, metadata=option(number(0.01, 1000), "requests a second"))
    retry_first: float = field(
        default=5.0, metadata=option(number(0.01, 3600), "seconds to the second attempt")
    )
    retry_most: float = field(
        default=600.0, metadata=option(number(0.01, 86400), "most seconds between attempts")
    )
    give_up_days: float = field(
        default=7.0, metadata=option(number(0.001, 365), "days after which a post is given up")
    )


@dataclass(frozen=True)
class WatchConfig:
    """How ``specinfer watch`` works."""

    pattern: str = field(default="spec_*.fits", metadata=option(PATTERN, "files to classify"))
    interval: float = field(
        default=0.2, metadata=option(number(0.01, 3600), "seconds between two looks at the folder")
    )
    settle: float = field(
        default=0.2, metadata=option(number(0, 3600), "seconds that a file must stay unchanged")
    )
    attempts: int = field(
        default=5, metadata=option(whole(1, 1000), "tries before a file is set aside")
    )
    retry_first: float = field(
        default=2.0, metadata=option(number(0.01, 3600), "seconds to the second try")
    )
    retry_most: float = field(
        default=300.0, metadata=option(number(0.01, 86400), "most seconds between tries")
    )
    jobs: int = field(default=1, metadata=option(whole(1, 256), "spectra classified at once"))
    annotate: bool = field(
        default=False, metadata=option(FLAG, "write the answer into the spectra's headers")
    )
    plot: bool = field(default=False, metadata=option(FLAG, "draw a picture beside the sidecar"))
    skyportal: bool = field(default=False, metadata=option(FLAG, "post to [skyportal]"))
    state: Path | None = field(
        default=None, metadata=option(PATH, "folder of journal, lock and heartbeat")
    )
    heartbeat: float = field(
        default=5.0, metadata=option(number(0.1, 3600), "seconds between heartbeats")
    )
    log_format: str = field(
        default="text", metadata=option(choice("text", "json"), "form of the log's lines")
    )


@dataclass(frozen=True)
class ServeConfig:
    """How ``specinfer serve`` works."""

    host: str = field(default="127.0.0.1", metadata=option(HOST, "address to listen at"))
    port: int = field(default=8765, metadata=option(whole(0, 65535), "port; 0 takes a free one"))
    token_file: Path | None = field(
        default=None, metadata=option(PATH, "file with the token that callers need, mode 600")
    )
    max_body: int = field(
        default=8 * 1024 * 1024, metadata=option(whole(1024), "most bytes of a request")
    )
    queue: int = field(
        default=64, metadata=option(whole(1, 100_000), "requests that may wait; more get 429")
    )
    jobs: int = field(default=1, metadata=option(whole(1, 256), "spectra classified at once"))
    timeout: float = field(
        default=30.0, metadata=option(number(0.1, 3600), "seconds that a request may take")
    )
    callback_hosts: tuple[str, ...] = field(
        default=(),
        metadata=option(
            listing(HOST, "host names"), "hosts to which results of the analysis service may go"
        ),
    )
    callback_timeout: float = field(
        default=30.0, metadata=option(number(0.1, 600), "seconds to wait for a callback's answer")
    )
    callback_attempts: int = field(
        default=5, metadata=option(whole(1, 100), "tries to deliver a result")
    )


@dataclass(frozen=True)
class Config:
    """The whole configuration.

    ``skyportal`` is None if the file has no such table; ``source`` is the file, or None
    for the defaults.
    """

    model: str = field(
        default="auto", metadata=option(TEXT, "name of a model, its folder, or auto")
    )
    device: str = field(
        default="auto",
        metadata=option(choice("auto", "cpu", "cuda", "tensorrt"), "where networks run"),
    )
    threads: int | None = field(
        default=None, metadata=option(whole(1, 4096), "threads that share a batch of spectra")
    )
    skip: SkipConfig = field(default_factory=SkipConfig)
    decisions: DecisionConfig = field(default_factory=DecisionConfig)
    skyportal: SkyPortalConfig | None = None
    watch: WatchConfig = field(default_factory=WatchConfig)
    serve: ServeConfig = field(default_factory=ServeConfig)
    source: Path | None = None


TABLES: dict[str, type[Any]] = {
    "skip": SkipConfig,
    "decisions": DecisionConfig,
    "skyportal": SkyPortalConfig,
    "watch": WatchConfig,
    "serve": ServeConfig,
}


def is_needed(one: Field[Any]) -> bool:
    """Whether a key has no default."""
    return one.default is MISSING and one.default_factory is MISSING
