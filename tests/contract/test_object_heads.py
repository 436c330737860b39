"""What every head that finds objects, points or pixels must do, on a random tiny backbone."""

from typing import Any, cast

import pytest
import torch
from torch import nn

from onelook.answers import in_words, to_json
from onelook.averaged import rebuild
from onelook.backbone import Backbone
from onelook.engines import TorchEngine
from onelook.heads import HEADS, TASKS, Facts
from onelook.heads.rcnn import Rcnn
from onelook.look import PIXELS, Geometry, Look, Needs
from onelook.looker import Looker, Pixels
from onelook.masks import IGNORE, Mask
from onelook.measure_pixels import Shares
from onelook.objects import Layout, Objects
from onelook.tail import Tail, Tailed

CLASSES = ("one", "two", "three")
LAYOUT = Layout(("left", "right", "top"), ((0, 1),), ((0, 2), (1, 2)))
METHODS = [(task, method) for task in ("localize", "keypoints", "detect", "segment") for method in TASKS[task]]
SIZE = 128


def facts(task: str, backbone: Backbone, attach: str = "conv") -> Facts:
    layout = LAYOUT if task == "keypoints" else None
    names = LAYOUT.names if layout else CLASSES
    examples = [] if task == "segment" else targets(task)
    return Facts(names, backbone.channels, backbone.embedding_size, examples, layout, cast(Any, attach))


def truths(task: str) -> list[Any]:
    """Targets as judges take them."""
    if task != "segment":
        return targets(task)
    return [Mask((SIZE, SIZE), (), lambda mask=mask: mask) for mask in targets(task)]  # type: ignore[misc]


def targets(task: str) -> list[Any]:
    """Two objects, none, one that is ignored, one smaller than a cell; of pixels: classes in stripes, nothing known, one class, a speck."""
    if task == "segment":
        stripes = (torch.arange(SIZE) // 20 % 3).to(torch.uint8).repeat(SIZE, 1)
        blank, speck = torch.ones(SIZE, SIZE, dtype=torch.uint8), torch.zeros(SIZE, SIZE, dtype=torch.uint8)
        speck[30:32, 30:33] = 2
        return [stripes, blank * IGNORE, blank, speck]
    points = {"points": [[(20, 20, 2), (60, 30, 1), (0, 0, 0)]] * 2} if task == "keypoints" else {}
    one = {"points": points["points"][:1]} if points else {}
    found = [
        Objects.of([(8, 8, 60, 90), (50, 40, 120, 100)], [0, 2], **points),
        Objects.of([], []),
        Objects.of([(8, 8, 60, 90)], [1], [True], **one),
        Objects.of([(30, 30, 33, 32)], [1], **one),
    ]
    return [Objects(o.boxes, o.labels, o.ignored, o.points, (SIZE, SIZE)) for o in found]


def pixels(n: int) -> list[Pixels]:
    draw = torch.Generator().manual_seed(2)
    placement = Geometry(SIZE).place(SIZE, SIZE)
    return [
        Pixels((f"{i:032x}", 0), torch.randint(0, 256, (3, SIZE, SIZE), dtype=torch.uint8, generator=draw), placement) for i in range(n)
    ]


@pytest.fixture(scope="module")
def looker(tiny: Backbone) -> Looker:
    return Looker(tiny, TorchEngine(tiny), Geometry(SIZE))


def make(task: str, method: str, looker: Looker, attach: str = "conv") -> Any:
    torch.manual_seed(0)
    head = cast(Any, HEADS[method]).fresh(facts(task, looker.backbone, attach)).eval()
    if isinstance(head, Rcnn):
        head.bind(lambda crops: looker.backbone.embed(looker.engine(crops)[-1]))
        head.weight.normal_(std=0.1)
        head.ridge.normal_(std=0.001)
    return head


def look(looker: Looker, needs: Needs, n: int = 4) -> Look:
    found = looker.look(pixels(n), needs)
    clone = {stride: value.clone() for stride, value in found.maps.items()}  # out of inference mode
    embedding = None if found.embedding is None else found.embedding.clone()
    return Look(found.placements, clone, embedding=embedding, regions=None if found.regions is None else found.regions.clone())


def test_every_head_is_tested() -> None:
    assert {method for _, method in METHODS} | {"classify", "regress"} == set(HEADS)


@pytest.mark.parametrize(("task", "method"), METHODS)
class TestEveryObjectHead:
    def test_loss_is_finite_and_reaches_every_parameter(self, task: str, method: str, looker: Looker) -> None:
        head = make(task, method, looker).train()
        if isinstance(head, Rcnn):
            pytest.skip("fitted by onelook.crops")
        losses = head.loss(head(look(looker, head.needs)), targets(task))
        total = torch.stack(list(losses.values())).sum()
        assert torch.isfinite(total)
        total.backward()
        assert [name for name, p in head.named_parameters() if p.grad is None or not bool(torch.isfinite(p.grad).all())] == []

    def test_pictures_without_objects(self, task: str, method: str, looker: Looker) -> None:
        head = make(task, method, looker).train()
        if isinstance(head, Rcnn):
            pytest.skip("fitted by onelook.crops")
        losses = head.loss(head(look(looker, head.needs, 2)), [targets(task)[1]] * 2)
        total = torch.stack(list(losses.values())).sum()
        assert torch.isfinite(total)
        total.backward()

    def test_one_answer_per_picture_in_words_and_json(self, task: str, method: str, looker: Looker) -> None:
        head = make(task, method, looker)
        for n in (1, 4):
            found = look(looker, head.needs, n)
            with torch.inference_mode():
                answers = head.answer(head(found), found.placements)
            assert len(answers) == n
            assert isinstance(to_json(answers[0]), dict)
            assert in_words(answers[0])

    @torch.inference_mode()
    def test_alone_as_in_a_batch(self, task: str, method: str, looker: Looker) -> None:
        head = make(task, method, looker)
        whole = look(looker, head.needs)
        together = head.find(head(whole), whole.placements)
        for index, one in enumerate(pixels(4)):
            found = looker.look([one], head.needs)
            alone = head.find(head(found), found.placements)[0]
            for mine, theirs in zip(_parts(alone), _parts(together[index]), strict=True):
                torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-3)

    @torch.inference_mode()
    def test_rebuilt_from_config_bit_for_bit(self, task: str, method: str, looker: Looker) -> None:
        head = make(task, method, looker)
        again = cast(nn.Module, rebuild(method, head.config(), looker.backbone))
        again.load_state_dict(head.state_dict())
        found = look(looker, head.needs)
        if isinstance(head, Rcnn):
            cast(Any, again).bind(head._network[0])
        one, other = (cast(Any, h).find(h(found), found.placements)[0] for h in (head, again))
        assert all(torch.equal(mine, theirs) for mine, theirs in zip(_parts(one), _parts(other), strict=True))

    @torch.inference_mode()
    def test_judge_and_merging_equal_answers(self, task: str, method: str, looker: Looker) -> None:
        head = make(task, method, looker)
        found = look(looker, head.needs)
        said = head.find(head(found), found.placements)
        judge = head.judge()
        judge.add(said, truths(task))
        result = judge.result()
        assert judge.headline in result
        assert judge.headline + "_interval" in result
        assert len(judge.each()) == len(said)
        head.say(head.merge([said[0], said[0]]))

    @torch.inference_mode()
    def test_mirrored_twice_is_the_same(self, task: str, method: str, looker: Looker) -> None:
        head = make(task, method, looker)
        found = look(looker, head.needs, 1)
        said = head.find(head(found), found.placements)[0]
        for across, down in ((True, False), (False, True)):
            again = head.mirrored(head.mirrored(said, across, down, (SIZE, SIZE)), across, down, (SIZE, SIZE))
            assert all(torch.allclose(one, other, atol=1e-4) for one, other in zip(_parts(again), _parts(said), strict=True))

    def test_behind_a_tail(self, task: str, method: str, looker: Looker) -> None:
        inner = make(task, method, looker)
        if isinstance(inner, Rcnn) or PIXELS in inner.needs.maps:
            pytest.skip("looks at crops with the frozen network, or at pixels")
        head = Tailed(Tail(looker.backbone, len(looker.backbone.stages) - 2, inner.needs), inner)
        found = look(looker, head.needs)
        assert not head.vector
        with torch.inference_mode():
            assert len(head.answer(head(found), found.placements)) == 4
            said = head.find(head(found), found.placements)[0]
            head.say(head.mirrored(said, True, False, (SIZE, SIZE)))

    def test_a_missing_part_is_named(self, task: str, method: str, looker: Looker) -> None:
        head = make(task, method, looker)
        with pytest.raises(Exception, match="this look has"):
            head(looker.look(pixels(1), Needs(pooled=looker.backbone.strides[:1])))


@pytest.mark.parametrize(("task", "method"), [("localize", "localize"), ("keypoints", "deeppose")])
def test_attached_to_the_embedding(task: str, method: str, looker: Looker) -> None:
    head = make(task, method, looker, "embedding")
    assert head.needs == Needs(embedding=True)
    found = look(looker, head.needs)
    assert len(head.answer(head(found), found.placements)) == 4


def _parts(found: Any) -> list[torch.Tensor]:
    if isinstance(found, Shares):
        return [found.values.float()]
    return [found] if isinstance(found, torch.Tensor) else [found.boxes, found.scores, found.labels]
