"""The matchers of the purposes, through the choice that they lead to."""

import pytest

from roomledger.domain.candidates import Choice
from roomledger.domain.matching import MATCHERS, Everybody, matcher_of
from roomledger_events.tasks import Preference
from roomledger_events.workers import Capacity, VideoCapacity
from tests.support.purposes import purpose, ready

NEAR = ("portal", "webrtc", "streaming", "audio", "video")


def chosen(name: str, workers: dict[str, Capacity], **preference: object) -> tuple[set[str], dict[str, int]]:
    begun = purpose(name)
    for worker, capacity in workers.items():
        ready(
            begun,
            worker,
            isps=capacity.isps,
            regions=capacity.regions,
            video=capacity.video,
            algorithms=capacity.algorithms,
        )
    choice: Choice = begun.state.candidates.choose(Preference(**preference), 0.0)  # type: ignore[arg-type]  # by name
    return {worker.id for worker in choice.ranked}, choice.refused


@pytest.mark.parametrize("name", NEAR)
def test_an_isp_is_a_must_and_no_isps_serve_everybody(name: str) -> None:
    workers = {"a": Capacity(isps=("a",)), "b": Capacity(isps=("b",)), "all": Capacity()}
    assert chosen(name, workers, isp="a") == ({"a", "all"}, {"isp": 1})


@pytest.mark.parametrize("name", NEAR)
def test_without_a_worker_of_the_isp_nobody_matches(name: str) -> None:
    assert chosen(name, {"a": Capacity(isps=("a",))}, isp="b") == (set(), {"isp": 1})


@pytest.mark.parametrize("name", NEAR)
def test_a_user_without_isp_is_served_by_those_that_serve_everybody(name: str) -> None:
    workers = {"a": Capacity(isps=("a",)), "all": Capacity()}
    assert chosen(name, workers) == ({"all"}, {"isp": 1})


@pytest.mark.parametrize("name", NEAR)
def test_a_region_is_a_wish_that_is_granted_where_it_can_be(name: str) -> None:
    workers = {"x": Capacity(regions=("x", "z")), "y": Capacity(regions=("y",)), "none": Capacity()}
    assert chosen(name, workers, region="x") == ({"x"}, {"region": 2})


@pytest.mark.parametrize("name", NEAR)
def test_a_region_that_nobody_serves_leaves_all_that_the_isp_rule_let_pass(name: str) -> None:
    workers = {"x": Capacity(regions=("x",)), "b": Capacity(isps=("b",)), "none": Capacity()}
    assert chosen(name, workers, isp="a", region="w") == ({"x", "none"}, {"isp": 1})


def test_the_region_counts_among_those_of_the_isp_only() -> None:
    workers = {"far": Capacity(isps=("a",)), "other": Capacity(isps=("b",), regions=("x",))}
    assert chosen("portal", workers, isp="a", region="x") == ({"far"}, {"isp": 1})


def test_a_worker_of_many_isps_and_regions_is_found_by_each_of_them() -> None:
    workers = {"w": Capacity(isps=("a", "b"), regions=("x", "y"))}
    for isp in ("a", "b"):
        for region in ("x", "y", "z", None):
            assert chosen("portal", workers, isp=isp, region=region)[0] == {"w"}


CODECS = {
    "h264": Capacity(video=VideoCapacity(encode=("h264",), decode=("h264", "vp8"))),
    "both": Capacity(video=VideoCapacity(encode=("h264", "vp8"), decode=("h264", "vp8"))),
    "none": Capacity(),
}


def test_all_codecs_asked_for_must_be_there() -> None:
    asked = VideoCapacity(encode=("vp8", "h264"), decode=("vp8",))
    assert chosen("video", CODECS, video=asked) == ({"both"}, {"video": 2})
    assert chosen("video", CODECS, video=VideoCapacity(decode=("vp8",))) == ({"h264", "both"}, {"video": 1})


@pytest.mark.parametrize("video", [None, VideoCapacity()])
def test_without_codecs_there_is_no_codec_rule(video: VideoCapacity | None) -> None:
    assert chosen("video", CODECS, video=video) == ({"h264", "both", "none"}, {})


def test_codecs_come_before_isp_and_region() -> None:
    workers = {
        "near": Capacity(regions=("x",)),
        "far": Capacity(video=VideoCapacity(encode=("vp8",))),
        "other": Capacity(isps=("b",), video=VideoCapacity(encode=("vp8", "av1"))),
    }
    asked = VideoCapacity(encode=("vp8",))
    assert chosen("video", workers, isp="a", region="x", video=asked) == ({"far"}, {"video": 1, "isp": 1})


def test_codecs_count_for_video_only() -> None:
    assert chosen("portal", {"w": Capacity()}, video=VideoCapacity(encode=("vp8",))) == ({"w"}, {})


def test_an_algorithm_must_be_among_the_workers() -> None:
    workers = {"faces": Capacity(algorithms=("faces", "cars")), "cars": Capacity(algorithms=("cars",))}
    assert chosen("analytics", workers, algorithm="faces") == ({"faces"}, {"algorithm": 1})


def test_a_task_that_names_no_algorithm_fits_no_worker() -> None:
    assert chosen("analytics", {"faces": Capacity(algorithms=("faces",))}) == (set(), {"algorithm": 1})


@pytest.mark.parametrize(
    "name", ["conference", "sip", "recording", "quic", "mediabridge", "eventbridge", "anything"]
)
def test_other_purposes_have_no_rule(name: str) -> None:
    assert isinstance(matcher_of(name), Everybody)
    assert chosen(name, {"w": Capacity(isps=("b",), regions=("y",))}, isp="a", region="x") == ({"w"}, {})


@pytest.mark.parametrize("name", sorted(MATCHERS))
def test_a_matcher_finds_a_worker_at_one_of_its_places(name: str) -> None:
    matcher = matcher_of(name)
    capacity = Capacity(
        isps=("a",), regions=("x",), video=VideoCapacity(encode=("vp8",)), algorithms=("cars",)
    )
    for region in ("x", "y"):
        wish = Preference(isp="a", region=region, video=VideoCapacity(encode=("vp8",)), algorithm="cars")
        assert matcher.place(capacity, wish) in matcher.places(capacity)
