"""What of an answer is posted, and what is held back."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from sidecar_documents import STEM, document

from specinfer.config import DecisionConfig, SkyPortalConfig
from specinfer.errors import UsageError
from specinfer.skyportal_posts import CLASSES, Post, Posts, comment_text, make_posts

CONFIG = SkyPortalConfig("https://fritz.science")
PICTURE = Path("/night/specinfer_x.png")


def made(
    sidecar: dict[str, Any],
    config: SkyPortalConfig = CONFIG,
    decisions: DecisionConfig | None = None,
    picture: Path | None = PICTURE,
) -> Posts:
    path = Path("/night") / sidecar["file"]
    return make_posts(sidecar, path, picture, config, decisions or DecisionConfig())


def by_kind(posts: Posts) -> dict[str, Post]:
    return {post.kind: post for post in posts.posts}


def test_a_sure_answer_gives_annotation_comment_and_class() -> None:
    posts = by_kind(made(document()))
    assert set(posts) == {"annotation", "comment", "classification"}
    for post in posts.values():
        assert post.obj == "ZTF26aaaaaaa"
        assert post.stems == (STEM.format("ZTF26aaaaaaa"),)
        json.loads(post.body_json())
    assert posts["classification"].body == {
        "classification": "Ia",
        "probability": 0.97,
        "origin": "sedm:specinfer",
        "ml": True,
        "vote": False,
        "label": False,
    }
    assert posts["comment"].picture == str(PICTURE)


def test_an_annotation_holds_flat_numbers_only() -> None:
    body = by_kind(made(document(novelty=math.nan, flags=["Z_AMBIGUOUS"])))["annotation"].body
    assert body["origin"] == "sedm:specinfer"
    data = body["data"]
    assert data["probability"] == 0.97
    assert data["p_SN_Ic_BL"] == 0.02
    assert data["p_AGN_QSO"] == 0.01
    assert data["auto"] == 1
    assert "novelty" not in data
    for name, value in data.items():
        assert re.fullmatch(r"[A-Za-z0-9_]+", name)
        assert type(value) in (int, float)
        assert math.isfinite(value)


@pytest.mark.parametrize("decision", ["review", None])
def test_a_class_for_review_is_not_posted(decision: str | None) -> None:
    posts = made(document(decision=decision))
    assert set(by_kind(posts)) == {"annotation", "comment"}
    assert posts.withheld == ()


@pytest.mark.parametrize("name", ["Galaxy", "Star", "GALAXY", "something new"])
def test_a_class_that_the_portal_does_not_have_is_withheld(name: str) -> None:
    posts = made(document(**{"class": name}))
    assert "classification" not in by_kind(posts)
    ((post, reason),) = posts.withheld
    assert post.kind == "classification"
    assert reason == f"{name} has no name in the portal's taxonomy"


def test_classes_can_be_named_otherwise_or_not_at_all() -> None:
    config = SkyPortalConfig("https://x.org", classes={"SN Ia": "Type I", "CV": ""})
    assert by_kind(made(document(), config))["classification"].body["classification"] == "Type I"
    assert "classification" not in by_kind(made(document(**{"class": "CV"}), config))


def test_decisions_of_the_configuration_hold_back() -> None:
    strict = DecisionConfig(minimum={"SN Ia": 0.98})
    ((_, reason),) = made(document(), decisions=strict).withheld
    assert reason == "P(SN Ia) = 0.970 is below the configured 0.98"
    assert made(document(probability=0.985), decisions=strict).withheld == ()
    hold = DecisionConfig(hold=("HOST_DOMINATED",))
    ((_, reason),) = made(document(flags=["HOST_DOMINATED"]), decisions=hold).withheld
    assert reason == "flag HOST_DOMINATED"
    # A configuration cannot let go what the model wants to be looked at.
    lax = DecisionConfig(minimum={"SN Ia": 0.0})
    assert "classification" not in by_kind(made(document(decision="review"), decisions=lax))


@pytest.mark.parametrize("state", ["LOWQ", "UNREADABLE", "STD", "MOVING", "UNCALIBRATED"])
def test_only_answers_worth_showing_are_posted(state: str) -> None:
    assert made(document(state=state)).posts == ()
    assert made(document(state=state) | {"result": None, "model": None}).posts == ()
    assert made(document(status="failed")).posts == ()
    assert set(by_kind(made(document(state="ABSTAIN", decision="review")))) == {
        "annotation",
        "comment",
    }


def test_kinds_can_be_switched_off() -> None:
    quiet = SkyPortalConfig(
        "https://x.org", annotations=False, comments=False, classifications=False
    )
    assert made(document(), quiet).posts == ()
    assert "comment" not in by_kind(made(document(), picture=None))


def test_a_redshift_is_posted_by_request_if_it_was_measured() -> None:
    assert "redshift" not in by_kind(made(document()))
    config = SkyPortalConfig("https://x.org", redshift=True)
    assert by_kind(made(document(), config))["redshift"].body == {
        "redshift": 0.0312,
        "redshift_error": 0.0021,
    }
    for flag in ("Z_GIVEN", "Z_AMBIGUOUS", "Z_CONFLICT"):
        assert "redshift" not in by_kind(made(document(flags=[flag]), config))
    assert "redshift" not in by_kind(made(document(decision="review"), config))
    assert "redshift" not in by_kind(made(document(redshift=None), config))


def test_groups_go_with_every_post_at_a_spectrum_or_source() -> None:
    config = SkyPortalConfig("https://x.org", group_ids=(3, 5))
    for post in made(document(), config).posts:
        assert post.body["group_ids"] == [3, 5]
    assert all("group_ids" not in post.body for post in made(document()).posts)


def test_another_answer_gives_the_picture_another_name() -> None:
    names = {
        by_kind(made(one))["comment"].body["name"]
        for one in (
            document(),
            document(model="spectranet@0.3.0"),
            document(sha256="f" * 64),
            document(probability=0.9),
        )
    }
    assert len(names) == 4
    assert by_kind(made(document()))["comment"].body["name"] in names
    assert all(re.fullmatch(r"specinfer_spectranet-0\.\d\.\d_[0-9a-f]{10}\.png", x) for x in names)


def test_the_comment_says_it_in_one_line_and_mentions_nobody() -> None:
    text = comment_text(document(subtype="91T", flags=["Z_AMBIGUOUS"]))
    assert text == (
        "specinfer 0.1.0, spectranet 0.2.1: SN Ia (91T) (P = 0.97), z = 0.0312 +- 0.0021, "
        "+3 +- 2 d, Z_AMBIGUOUS, sure"
    )
    assert "@" not in text


def test_an_answer_that_is_a_redshift_only_is_posted_as_such() -> None:
    nothing = dict.fromkeys(["class", "probability", "probabilities", "decision", "phase"])
    posts = by_kind(made(document(**nothing)))
    assert set(posts) == {"annotation", "comment"}
    assert posts["annotation"].body["data"] == {
        "redshift": 0.0312,
        "redshift_err": 0.0021,
        "phase_err": 2.1,
        "snr": 12.5,
        "auto": 0,
    }
    assert posts["comment"].body["text"] == (
        "specinfer 0.1.0, spectranet 0.2.1: z = 0.0312 +- 0.0021"
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ZTF20abwdwoa [A]", "ZTF20abwdwoa"),
        ("ZTF20abwdwoa", "ZTF20abwdwoa"),
        ("2026+x_y [contsep]", "2026+x_y"),
        ("", "ZTF26_b"),
        (None, "ZTF26_b"),
        ("no name/../x", None),
        ("two words", None),
    ],
)
def test_the_object_is_named_as_at_the_portal(name: str | None, expected: str | None) -> None:
    posts = made(document(stem=STEM.format("ZTF26_b"), object=name)).posts
    assert {post.obj for post in posts} == ({expected} if expected else set())


def test_a_document_that_is_no_sidecar_is_refused() -> None:
    for broken in ({}, {"schema": "other/1"}, document() | {"result": {"status": "ok"}}):
        with pytest.raises(UsageError) as caught:
            make_posts(broken, Path("/night/x.fits"), None, CONFIG, DecisionConfig())
        assert caught.value.code == "bad_sidecar"
        assert "\n" not in str(caught.value)


def test_all_supernova_classes_have_a_name_at_the_portal() -> None:
    card = json.loads(
        (Path(__file__).parents[1] / "exported_models/spectranet/card.json").read_text()
    )
    assert set(card["classes"]) - set(CLASSES) == {"Galaxy", "Star"}
