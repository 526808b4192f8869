"""The client against a portal that keeps SkyPortal's rules and fails on demand."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sidecar_documents import STEM, document

from benchmarks.portal import Faults, Portal
from specinfer.config import DecisionConfig, SkyPortalConfig
from specinfer.errors import SpecinferError
from specinfer.skyportal import (
    DryRun,
    PortalRefused,
    PortalUnavailable,
    SkyPortal,
    TokenRefused,
)
from specinfer.skyportal_posts import Post, make_posts
from specinfer.skyportal_token import Token

pytest.importorskip("httpx", reason="needs specinfer[skyportal]")
TARGET = "ZTF26aaaaaaa"
PNG = b"\x89PNG\r\n\x1a\n not much of a picture"


@pytest.fixture
def portal() -> Iterator[Portal]:
    with Portal() as portal:
        yield portal


def config_of(portal: Portal, **changes: object) -> SkyPortalConfig:
    return replace(SkyPortalConfig(portal.url, timeout=5.0, rate=500.0), **changes)


def client_of(portal: Portal, **changes: object) -> SkyPortal:
    return SkyPortal(config_of(portal, **changes), Token(portal.token, "the test"))


@pytest.fixture
def client(portal: Portal) -> Iterator[SkyPortal]:
    with client_of(portal) as client:
        yield client


def posts(folder: Path, target: str = TARGET, **changes: object) -> dict[str, Post]:
    picture = folder / "picture.png"
    picture.write_bytes(PNG)
    config = SkyPortalConfig("https://x.org", redshift=True)
    sidecar = document(target, **changes)
    made = make_posts(sidecar, Path(sidecar["file"]), picture, config, DecisionConfig())
    return {post.kind: post for post in made.posts}


def test_everything_is_posted_once(portal: Portal, client: SkyPortal, tmp_path: Path) -> None:
    spectrum = portal.add_spectrum(TARGET, STEM.format(TARGET) + ".txt")
    other = portal.add_spectrum(TARGET, "another.txt")
    for post in posts(tmp_path).values():
        assert client.send(post).state == "posted", post.kind
    for post in posts(tmp_path).values():
        assert client.send(post).state == "already", post.kind
    (annotation,) = portal.annotations
    assert annotation["spectrum_id"] == spectrum != other
    assert annotation["origin"] == "sedm:specinfer"
    assert annotation["data"]["redshift"] == 0.0312
    (classification,) = portal.classifications
    assert classification["taxonomy_id"] == 7  # the latest of that name
    assert classification["classification"] == "Ia"
    assert classification["ml"] is True
    assert classification["vote"] is classification["label"] is False
    (comment,) = portal.comments
    assert comment["body"] == PNG
    assert comment["attachment_name"].startswith("specinfer_spectranet-0.2.1_")
    assert portal.sources[TARGET]["redshift"] == 0.0312
    assert portal.sources[TARGET]["redshift_error"] == 0.0021
    assert not any("tns" in path.lower() for _, _, path in portal.requests)


def test_another_answer_updates_the_annotation(
    portal: Portal, client: SkyPortal, tmp_path: Path
) -> None:
    portal.add_spectrum(TARGET, STEM.format(TARGET) + ".txt")
    client.send(posts(tmp_path)["annotation"])
    assert client.send(posts(tmp_path, probability=0.91)["annotation"]).state == "updated"
    (annotation,) = portal.annotations
    assert annotation["data"]["probability"] == 0.91
    assert annotation["changes"] == 1


def test_annotations_of_others_are_left_alone(
    portal: Portal, client: SkyPortal, tmp_path: Path
) -> None:
    spectrum = portal.add_spectrum(TARGET, STEM.format(TARGET) + ".txt")
    theirs = {"id": 1, "spectrum_id": spectrum, "origin": "sedm:other", "data": {"rlap": 5}}
    portal.annotations.append(dict(theirs))
    client.send(posts(tmp_path)["annotation"])
    assert portal.annotations[0] == theirs
    assert len(portal.annotations) == 2


def test_a_spectrum_that_is_not_uploaded_yet_is_waited_for(
    portal: Portal, client: SkyPortal, tmp_path: Path
) -> None:
    portal.add_spectrum(TARGET, "another.txt")
    for kind in ("annotation", "comment"):
        outcome = client.send(posts(tmp_path)[kind])
        assert outcome.state == "waiting"
        assert STEM.format(TARGET) in outcome.message
    portal.add_spectrum(TARGET, STEM.format(TARGET) + ".ascii")
    assert client.send(posts(tmp_path)["annotation"]).state == "posted"


def test_a_source_with_a_redshift_keeps_it(
    portal: Portal, client: SkyPortal, tmp_path: Path
) -> None:
    portal.add_spectrum(TARGET, "x.txt", redshift=0.05)
    assert client.send(posts(tmp_path)["redshift"]).state == "already"
    assert portal.sources[TARGET]["redshift"] == 0.05


def test_a_class_that_the_taxonomy_lacks_is_withheld(portal: Portal, tmp_path: Path) -> None:
    portal.add_spectrum(TARGET, "x.txt")
    portal.taxonomies[1]["hierarchy"] = {"class": "Supernova", "subclasses": [{"class": "Ib"}]}
    with client_of(portal) as client:
        outcome = client.send(posts(tmp_path)["classification"])
    assert outcome.state == "withheld"
    assert outcome.message == "'Ia' is not a class of Sitewide Taxonomy"
    assert portal.classifications == []
    with (
        client_of(portal, taxonomy="Ours") as client,
        pytest.raises(PortalRefused, match=r"set taxonomy under .* one of: Sitewide Taxonomy"),
    ):
        client.send(posts(tmp_path)["classification"])


def test_a_lost_picture_is_no_comment(portal: Portal, client: SkyPortal, tmp_path: Path) -> None:
    post = posts(tmp_path)["comment"]
    (tmp_path / "picture.png").unlink()
    assert client.send(post).state == "withheld"


@pytest.mark.parametrize("fault", ["error", "drop", "limit", "error_after", "drop_after"])
@pytest.mark.parametrize("kind", ["annotation", "classification", "comment"])
def test_after_any_fault_the_second_attempt_leaves_one(
    portal: Portal, client: SkyPortal, tmp_path: Path, kind: str, fault: str
) -> None:
    portal.add_spectrum(TARGET, STEM.format(TARGET) + ".txt")
    portal.fail_next(fault)
    with pytest.raises(PortalUnavailable) as caught:
        client.send(posts(tmp_path)[kind])
    # A connection that breaks may have stored something; a refusal for being busy has not.
    assert caught.value.stored == (fault != "limit")
    stored = fault.endswith("_after")
    assert client.send(posts(tmp_path)[kind]).state == ("already" if stored else "posted")
    assert portal.duplicates() == []
    assert len(portal.annotations + portal.classifications + portal.comments) == 1


def test_a_late_answer_is_a_time_out_and_the_post_is_found(tmp_path: Path) -> None:
    with Portal(faults=Faults(delay=0.6)) as portal:
        portal.add_spectrum(TARGET, STEM.format(TARGET) + ".txt")
        with client_of(portal, timeout=0.2) as client:
            portal.fail_next("late")
            with pytest.raises(PortalUnavailable, match=r"no answer within 0.2 s") as caught:
                client.send(posts(tmp_path)["classification"])
            assert caught.value.stored
            assert client.send(posts(tmp_path)["classification"]).state == "already"


def test_a_portal_that_is_not_there_is_unavailable(portal: Portal, tmp_path: Path) -> None:
    config = replace(config_of(portal), url="http://127.0.0.1:9")
    with (
        SkyPortal(config, Token("x", "the test")) as client,
        pytest.raises(PortalUnavailable, match="no connection") as caught,
    ):
        client.send(posts(tmp_path)["annotation"])
    assert not caught.value.stored


def test_an_unknown_object_is_refused(client: SkyPortal, tmp_path: Path) -> None:
    with pytest.raises(PortalRefused, match="400 Cannot find source with ID"):
        client.send(posts(tmp_path)["annotation"])


def test_a_missing_right_is_told_from_an_unknown_token(portal: Portal, tmp_path: Path) -> None:
    portal.add_spectrum(TARGET, STEM.format(TARGET) + ".txt")
    portal.lacking = {"Classify"}
    with client_of(portal) as client:
        assert client.send(posts(tmp_path)["annotation"]).state == "posted"
        with pytest.raises(PortalRefused, match="lacks the right"):
            client.send(posts(tmp_path)["classification"])
    with (
        SkyPortal(config_of(portal), Token("wrong", "the test")) as client,
        pytest.raises(TokenRefused, match="give a token that the portal knows"),
    ):
        client.send(posts(tmp_path)["annotation"])


def test_an_annotation_that_came_meanwhile_is_found(
    portal: Portal, client: SkyPortal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    portal.add_spectrum(TARGET, STEM.format(TARGET) + ".txt")
    client.send(posts(tmp_path)["annotation"])
    there = client._ask
    asked = []

    def forgetful(method: str, place: str, body: object = None) -> object:
        asked.append(method)
        return [] if len(asked) == 1 else there(method, place, body)  # type: ignore[arg-type]

    monkeypatch.setattr(client, "_ask", forgetful)
    assert client.send(posts(tmp_path)["annotation"]).state == "already"
    assert asked == ["GET", "POST", "GET"]
    assert len(portal.annotations) == 1


def test_requests_are_not_faster_than_allowed(portal: Portal, tmp_path: Path) -> None:
    portal.add_spectrum(TARGET, STEM.format(TARGET) + ".txt")
    with client_of(portal, rate=20.0) as client:
        for post in posts(tmp_path).values():
            client.send(post)
    times = [when for when, _, _ in portal.requests]
    assert len(times) >= 8
    assert (times[-1] - times[0]) / (len(times) - 1) > 0.045


def test_other_servers_are_recognised(portal: Portal, tmp_path: Path) -> None:
    with client_of(portal) as client:
        portal.answer = lambda *_: {"spectra": [{"name": 3}]}  # type: ignore[method-assign]
        portal.add_spectrum(TARGET, "x.txt")
        with pytest.raises(PortalUnavailable, match="not a list"):
            client.send(posts(tmp_path)["classification"])
        portal.answer = lambda *_: [{"origin": "sedm:specinfer"}]  # type: ignore[method-assign]
        client._spectra[TARGET, STEM.format(TARGET)] = 3
        with pytest.raises(PortalUnavailable, match="not as expected"):
            client.send(posts(tmp_path)["annotation"])


def test_the_token_appears_nowhere(
    portal: Portal, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture
) -> None:
    portal.add_spectrum(TARGET, STEM.format(TARGET) + ".txt")
    seen = []
    with caplog.at_level(logging.DEBUG), client_of(portal) as client:
        seen += [repr(client), str(vars(client))]
        for fault in ("ok", "error", "drop", "limit", "drop_after"):
            portal.fail_next(fault)
            for post in posts(tmp_path, fault).values():
                portal.add_spectrum(fault.replace("_", ""), STEM.format(fault) + ".txt")
                try:
                    client.send(post)
                except SpecinferError as error:
                    seen += [repr(error), traceback.format_exc()]
        # A portal that quotes what it was sent.
        portal.answer = lambda *_: (_ for _ in ()).throw(  # type: ignore[method-assign]
            ValueError(f"token {portal.token} is not liked")
        )
        with pytest.raises(PortalRefused, match=r"token \*\*\* is not liked"):
            client.send(posts(tmp_path)["annotation"])
    assert len(caplog.records) > 20
    out, err = capfd.readouterr()
    for text in (*seen, caplog.text, out, err):
        assert portal.token not in text


def test_a_dry_run_says_all_and_sends_nothing(portal: Portal, tmp_path: Path) -> None:
    lines: list[str] = []
    dry = DryRun(config_of(portal), lines.append)
    for post in posts(tmp_path).values():
        assert dry.send(post).state == "shown"
    assert portal.requests == []
    text = "\n".join(lines)
    assert f"POST {portal.url}/api/classification" in text
    assert '"classification": "Ia"' in text
    assert f"PATCH {portal.url}/api/sources/{TARGET}" in text
    assert len(lines) == 4
