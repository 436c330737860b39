"""What every head must do, on a random tiny backbone: facts, options, verbs."""

from dataclasses import asdict, fields
from typing import Any

import pytest
import torch
from torchvision.ops import nms

from onelook.answers.answer import Answer
from onelook.backbones.backbone import Backbone
from onelook.backbones.engines import TorchEngine
from onelook.data.augment import RECIPES
from onelook.data.kinds import KINDS
from onelook.errors import HeadError
from onelook.geometry.boxes import ScoredBoxes
from onelook.geometry.masks import IGNORE, Mask, ProbabilityMap
from onelook.geometry.objects import Layout, Objects, has_area
from onelook.geometry.placement import PIXELS, Geometry, Placement
from onelook.heads import HEADS, find_head, make_options, tasks
from onelook.heads.base import AnyHead, Head
from onelook.heads.box_head import LOWEST, BoxHead
from onelook.heads.context import Context
from onelook.heads.ensemble import Averaged, rebuild
from onelook.heads.options import options_of
from onelook.heads.pooled import PooledHead, Shape, equal_weights, part_lengths
from onelook.heads.tail import Tail, Tailed
from onelook.looks.extractor import Extractor, Pixels
from onelook.looks.features import Look, Needs
from onelook.training.trainers import TRAINERS

CLASSES = ("one", "two", "three")
LAYOUT = Layout(("left", "right", "top"), ((0, 1),), ((0, 2), (1, 2)))
SIZE = 128
FORMS = ("radial", "linear", "hidden")
CASES = [  # (method, kind of targets, form of a pooled head or another option's value)
    *[(method, kind, form) for method in ("classify", "regress") for kind in HEADS[method].learns_from for form in FORMS],
    *[(method, HEADS[method].learns_from[0], "") for method in HEADS if HEADS[method].trainer != "pooled"],
    ("localize", "objects", "embedding"),
    ("localize", "objects", "squared"),
    ("deeppose", "points", "embedding"),
    ("unet", "masks", "dice"),
    ("unet", "masks", "focal"),
]
OPTION_OF = {"embedding": "attach", "squared": "loss", "dice": "loss", "focal": "loss"}


def context(kind: str, backbone: Backbone) -> Context:
    names = LAYOUT.names if kind == "points" else CLASSES
    examples = targets(kind) if kind in ("objects", "points") else []
    layout = LAYOUT if kind == "points" else None
    return Context(names, backbone.channels, backbone.embedding_size, kind, examples, layout=layout)


def make(case: tuple[str, str, str], backbone: Backbone) -> Any:
    """An untrained head whose weights are drawn at random."""
    method, kind, variant = case
    torch.manual_seed(0)
    cls = HEADS[method]
    told = context(kind, backbone)
    if issubclass(cls, PooledHead):
        needs = Needs(pooled=backbone.strides, embedding=True)
        head: Any = cls.shaped(told, Shape(needs, variant, 7, 0.5))  # type: ignore[arg-type]
        head.readout.weight.copy_(equal_weights(part_lengths(needs, backbone.channels, backbone.embedding_size)))
        if variant == "radial":
            head.body[0].centres.normal_()
        return head.eval()
    head = cls.fresh(told, make_options(cls, {OPTION_OF[variant]: variant} if variant else {})).eval()
    if head.crops:
        head.weight.normal_(std=0.1)
        head.ridge.normal_(std=0.001)
        engine = TorchEngine(backbone)
        head.bind(lambda crops: engine.embed(engine(crops)[-1]))
    return head


def targets(kind: str, n: int = 4) -> Any:
    """Two objects, none, one that is ignored, one smaller than a cell; of pixels: classes in stripes, nothing known, one class, a speck."""
    draw = torch.Generator().manual_seed(1)
    if kind == "single":
        return torch.randint(0, len(CLASSES), (n,), generator=draw)
    if kind in ("multi", "values"):
        values = torch.rand(n, len(CLASSES), generator=draw)
        return values.round() if kind == "multi" else values
    if kind == "masks":
        stripes = (torch.arange(SIZE) // 20 % 3).to(torch.uint8).repeat(SIZE, 1)
        blank, speck = torch.ones(SIZE, SIZE, dtype=torch.uint8), torch.zeros(SIZE, SIZE, dtype=torch.uint8)
        speck[30:32, 30:33] = 2
        return [stripes, blank * IGNORE, blank, speck]
    points: dict[str, Any] = {"points": [[(20, 20, 2), (60, 30, 1), (0, 0, 0)]] * 2} if kind == "points" else {}
    one = {"points": points["points"][:1]} if points else {}
    found = [
        Objects.of([(8, 8, 60, 90), (50, 40, 120, 100)], [0, 2], **points),
        Objects.of([], []),
        Objects.of([(8, 8, 60, 90)], [1], [True], **one),
        Objects.of([(30, 30, 33, 32)], [1], **one),
    ]
    return [Objects(o.boxes, o.labels, o.ignored, o.points, (SIZE, SIZE)) for o in found]


def truths(kind: str) -> list[Any]:
    """Targets as judges take them."""
    if kind != "masks":
        return list(targets(kind))
    return [Mask((SIZE, SIZE), tuple(int((mask == k).sum()) for k in range(3)), lambda mask=mask: mask) for mask in targets(kind)]  # type: ignore[misc]


def pixels(n: int) -> list[Pixels]:
    draw = torch.Generator().manual_seed(2)
    placement = Geometry(SIZE).place(SIZE, SIZE)
    shape = (3, SIZE, SIZE)
    return [Pixels((f"{i:032x}", 0), torch.randint(0, 256, shape, dtype=torch.uint8, generator=draw), placement) for i in range(n)]


@pytest.fixture(autouse=True)
def wider_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some sixty windows a picture instead of hundreds."""
    monkeypatch.setattr("onelook.heads.rcnn.SMALLEST_STEP", 32)


@pytest.fixture(scope="module")
def extractor(tiny: Backbone) -> Extractor:
    return Extractor(tiny, TorchEngine(tiny), Geometry(SIZE))


def look(extractor: Extractor, needs: Needs, n: int = 4) -> Look:
    found = extractor.look(pixels(n), needs)
    return found._each(torch.Tensor.clone, found.placements)  # out of inference mode


def parts(prediction: Any) -> list[torch.Tensor]:
    """The numbers of a prediction."""
    if isinstance(prediction, ProbabilityMap):
        return [prediction.values.float()]
    return [prediction.boxes, prediction.scores, prediction.labels] if isinstance(prediction, ScoredBoxes) else [prediction]


def same(one: Any, other: Any, **tolerance: float) -> bool:
    return all(
        a.shape == b.shape and torch.allclose(a.float(), b.float(), **tolerance) for a, b in zip(parts(one), parts(other), strict=True)
    )


@pytest.mark.parametrize("method", list(HEADS))
def test_facts(method: str) -> None:
    head = HEADS[method]
    assert issubclass(head, Head)
    assert head.method == method
    assert head.task in tasks()
    assert set(head.learns_from) <= KINDS.keys()
    assert head.trainer in TRAINERS
    assert head.usual.recipe in RECIPES
    assert head.question
    assert all(option.help.endswith(".") for option in options_of(head.Options))
    assert find_head(head.task, method) is head
    assert find_head(method) is head


@pytest.mark.parametrize("method", list(HEADS))
def test_options(method: str) -> None:
    """Defaults are allowed values; another value is taken, one that cannot be is refused with what may be."""
    head = HEADS[method]
    assert asdict(make_options(head, {})) == asdict(head.Options())
    for option in options_of(head.Options):
        assert option.checked(option.default) == option.default
        if option.choices:
            with pytest.raises(HeadError, match=f"--{option.name} nonsense: use one of {', '.join(option.choices)}"):
                make_options(head, {option.name: "nonsense"})
            assert getattr(make_options(head, {option.name: option.choices[-1]}), option.name) == option.choices[-1]
        if option.high is not None:
            with pytest.raises(HeadError, match="use"):
                make_options(head, {option.name: int(option.high) + 1})
    with pytest.raises(HeadError, match=rf"--nonsense: {method} has no such option"):
        make_options(head, {"nonsense": 1})


def test_an_option_of_other_heads_names_them() -> None:
    with pytest.raises(HeadError, match="--form: unet has no such option; it is an option of classify, regress"):
        make_options(HEADS["unet"], {"form": "linear"})
    assert {entry.name for entry in fields(HEADS["unet"].Options)} == {"loss", "borders"}


@pytest.mark.parametrize("case", CASES, ids="-".join)
class TestEveryHead:
    def test_loss_and_gradients(self, case: tuple[str, str, str], extractor: Extractor) -> None:
        head = make(case, extractor.backbone).train()
        if head.crops:
            pytest.skip("fitted by onelook.training.region_svm")
        losses = head.loss(head(look(extractor, head.needs)), targets(case[1]))
        total = torch.stack(list(losses.values())).sum()
        assert torch.isfinite(total)
        total.backward()
        grads = {name: p.grad for name, p in head.named_parameters()}
        assert [name for name, grad in grads.items() if grad is None or not bool(torch.isfinite(grad).all())] == []
        moving = sum(bool(grad.any()) for grad in grads.values() if grad is not None)
        # of pooled heads all; of others but for levels on which none of these few objects lies
        assert moving >= (1.0 if isinstance(head, PooledHead) else 0.8) * len(grads)

    def test_pictures_without_objects(self, case: tuple[str, str, str], extractor: Extractor) -> None:
        head = make(case, extractor.backbone).train()
        if head.crops or not KINDS[case[1]].moves:
            pytest.skip("there is always something to learn")
        losses = head.loss(head(look(extractor, head.needs, 2)), [targets(case[1])[1]] * 2)
        total = torch.stack(list(losses.values())).sum()
        assert torch.isfinite(total)
        total.backward()

    def test_one_answer_a_picture(self, case: tuple[str, str, str], extractor: Extractor) -> None:
        head = make(case, extractor.backbone)
        for n in (1, 4):
            found = look(extractor, head.needs, n)
            with torch.inference_mode():
                answers = head.answers(head(found), found.placements)
            assert len(answers) == n
            for answer in answers:
                assert isinstance(answer, Answer)
                assert answer.to_json()
                assert str(answer)

    @torch.inference_mode()
    def test_alone_as_in_a_batch(self, case: tuple[str, str, str], extractor: Extractor) -> None:
        head = make(case, extractor.backbone)
        whole = look(extractor, head.needs)
        together = head.postprocess(head(whole), whole.placements)
        for index, one in enumerate(pixels(4)):
            found = extractor.look([one], head.needs)
            close = {"rtol": 1e-5, "atol": 1e-5} if isinstance(head, PooledHead) else {"rtol": 1e-4, "atol": 1e-3}
            assert same(head.postprocess(head(found), found.placements)[0], together[index], **close)

    @torch.inference_mode()
    def test_rebuilt_from_config_bit_for_bit(self, case: tuple[str, str, str], extractor: Extractor) -> None:
        head = make(case, extractor.backbone)
        again = rebuild(type(head), head.config(), extractor.backbone)
        again.load_state_dict(head.state_dict())
        if head.crops:
            again.bind(head._network[0])
        found = look(extractor, head.needs)
        one, other = (h.postprocess(h(found), found.placements)[0] for h in (head, again))
        assert all(torch.equal(mine, theirs) for mine, theirs in zip(parts(one), parts(other), strict=True))

    def test_it_can_be_asked_why(self, case: tuple[str, str, str], extractor: Extractor) -> None:
        """What it claims above all: one number a picture, with gradients down to what was looked at; or it is said why not."""
        head = make(case, extractor.backbone)
        seen = look(extractor, head.needs, 2)
        raw = head(seen)
        if head.crops:
            with pytest.raises(HeadError, match="has no gradient"):
                head.claim(raw)
            return
        about = head(seen.pick([1])).detach() if head.by_identity else None
        claim = head.claim(raw, about)
        assert claim.words
        for value in seen._each(lambda part: part.requires_grad_() if part.is_floating_point() else part, seen.placements).maps.values():
            assert value.requires_grad
        evidence = claim.evidence(head(seen))
        assert evidence.shape == (2,)
        assert torch.isfinite(evidence).all()
        read = [part for part in (*seen.maps.values(), *seen.pooled.values(), seen.embedding) if part is not None]
        gradients = torch.autograd.grad(evidence[0], read, allow_unused=True)
        assert any(bool(gradient.any()) for gradient in gradients if gradient is not None)
        assert all(torch.isfinite(gradient).all() for gradient in gradients if gradient is not None)
        if head.by_identity:
            with pytest.raises(HeadError, match="--other"):
                head.claim(raw)
        else:
            last = next(name for name in head.classes if name == claim.name) if case[1] == "masks" else head.classes[-1]
            assert last in head.claim(raw, last).words
            with pytest.raises(HeadError, match="--about nothing: there is no such answer; there are"):
                head.claim(raw, "nothing")

    @torch.inference_mode()
    def test_judge(self, case: tuple[str, str, str], extractor: Extractor) -> None:
        """Figures, an interval that holds the headline, a score a picture, words, tables, plots, the worst."""
        head = make(case, extractor.backbone)
        found = look(extractor, head.needs)
        judge = head.judge()
        judge.add(head.postprocess(head(found), found.placements), truths(case[1]))
        metrics = judge.result()
        low, high = metrics[f"{judge.headline}_interval"]
        assert metrics["n"] in (3, 4)  # key points: a picture without any has nothing to be judged by
        assert low <= metrics[judge.headline] <= high
        assert len(judge.each()) == 4
        assert judge.headline in judge.figures
        assert judge.in_words(metrics)
        for table in judge.tables(metrics):
            assert all(len(row) == len(table.header) for row in table.rows)
        for curves in judge.curves():
            assert all(len(x) == len(y) for x, y in curves.lines.values())
        assert all(0 <= index < 4 and caption for index, caption in judge.worst(2))
        assert len(judge.worst(2)) <= 2

    @torch.inference_mode()
    def test_merging_equal_predictions_changes_nothing(self, case: tuple[str, str, str], extractor: Extractor) -> None:
        head = make(case, extractor.backbone)
        found = look(extractor, head.needs)
        for prediction in head.postprocess(head(found), found.placements):
            merged = head.merge([prediction, prediction])
            if head.task == "detect":  # fusion also unites boxes of one prediction that overlap
                assert len(merged.boxes) <= len(prediction.boxes)
                if len(prediction.boxes):
                    assert merged.scores.max() <= prediction.scores.max() + 1e-6
            elif case[1] == "single":  # logits of equal probabilities may differ by a constant
                assert same(merged.softmax(0), prediction.softmax(0), atol=1e-5)
            else:
                close = 1e-5 if isinstance(head, PooledHead) else 1e-3
                assert same(merged, prediction, rtol=close, atol=close)

    @torch.inference_mode()
    def test_mirrored_twice_is_the_same(self, case: tuple[str, str, str], extractor: Extractor) -> None:
        head = make(case, extractor.backbone)
        found = look(extractor, head.needs, 1)
        said = head.postprocess(head(found), found.placements)[0]
        for across, down in ((True, False), (False, True)):
            again = head.mirror(head.mirror(said, across, down, (SIZE, SIZE)), across, down, (SIZE, SIZE))
            assert same(again, said, atol=1e-4)

    def test_the_truth_can_be_drawn_where_answers_have_places(self, case: tuple[str, str, str], extractor: Extractor) -> None:
        head = make(case, extractor.backbone)
        right = head.truth(truths(case[1])[0])
        assert (right is not None) == head.placed

    @torch.inference_mode()
    def test_behind_a_tail(self, case: tuple[str, str, str], extractor: Extractor) -> None:
        inner = make(case, extractor.backbone)
        if inner.crops or PIXELS in inner.needs.maps:
            pytest.skip("looks at crops with the frozen network, or at pixels")
        head: AnyHead = Tailed(Tail(extractor.backbone, len(extractor.backbone.stages) - 2, inner.needs), inner)
        assert head.core is inner
        assert len(head.tails) == 1
        found = look(extractor, head.needs)
        predictions = head.postprocess(head(found), found.placements)
        assert len(predictions) == 4
        assert str(head.answer(head.mirror(predictions[0], True, False, (SIZE, SIZE))))

    def test_a_missing_part_is_named(self, case: tuple[str, str, str], extractor: Extractor) -> None:
        head = make(case, extractor.backbone)
        with pytest.raises(HeadError, match="this look has"):
            head(extractor.look(pixels(1), Needs(pooled=extractor.backbone.strides[:1])))


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_the_temperature_divides_the_scores(kind: str, extractor: Extractor) -> None:
    head = make(("classify", kind, "linear"), extractor.backbone)
    found = look(extractor, head.needs)
    raw = head(found)
    head.temperature = 4.0
    torch.testing.assert_close(head(found) * 4, raw)
    assert HEADS["classify"](**head.config()).temperature == 4.0
    average = Averaged([head, head])
    torch.testing.assert_close(average(found).softmax(1) if kind == "single" else average(found).sigmoid(),
                               head(found).softmax(1) if kind == "single" else head(found).sigmoid())  # fmt: skip


def test_an_unknown_task_and_method_are_named() -> None:
    with pytest.raises(HeadError, match="task 'dance' is unknown; use one of classify, regress, localize"):
        find_head("dance")
    with pytest.raises(HeadError, match="--method yolo: is no way to classify; use one of classify"):
        find_head("classify", "yolo")


def shares(placement: Placement) -> torch.Tensor:
    return torch.tensor([*placement.original, *placement.original], dtype=torch.float32)


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_tensors_say_what_predictions_say(case: tuple[str, str, str], extractor: Extractor) -> None:
    """The batch form of answers, which graphs hold, against the form that is judged, of pictures that are padded."""
    head = make(case, extractor.backbone)
    geometry = Geometry(SIZE).place(2 * SIZE, SIZE + 50)
    wide, high = geometry.content
    batch = [Pixels(one.row, one.content[:, :high, :wide], geometry) for one in pixels(3)]
    found = extractor.look(batch, head.needs)
    with torch.inference_mode():
        raw = head(found)
        if head.no_graph:
            with pytest.raises(HeadError, match="cannot be exported"):
                head.tensors(raw, geometry)
            return
        given, predictions = head.tensors(raw, geometry), head.postprocess(raw, found.placements)
    for number, prediction in enumerate(predictions):
        if isinstance(prediction, ScoredBoxes):
            mine = given["pictures"] == number
            count = int((given["scores"][mine] >= 0.2).sum())
            assert count == int((prediction.scores >= 0.2).sum())
            order = given["scores"][mine].argsort(descending=True, stable=True)[:count]
            torch.testing.assert_close(given["scores"][mine][order], prediction.scores[:count])
            for box, label in zip(given["boxes"][mine][order] * shares(geometry), given["labels"][mine][order], strict=True):
                near = (prediction.boxes - box).abs().amax(1) < 0.5
                assert bool((prediction.labels[near] == label).any())
        elif isinstance(prediction, ProbabilityMap):
            small = ProbabilityMap(prediction.values, (wide, high))
            assert float((given["mask"][number] == small.mask()).float().mean()) > 0.97  # enlarged before the softmax, not behind it
        elif head.task == "keypoints":
            torch.testing.assert_close(given["points"][number, :, :2] * shares(geometry)[:2], prediction[:, :2], rtol=1e-4, atol=1e-2)
            torch.testing.assert_close(given["points"][number, :, 2], prediction[:, 2])
        else:
            row = next(iter(given.values()))[number]
            expected = prediction if head.task != "classify" else prediction.sigmoid() if head.multi else prediction.softmax(0)
            torch.testing.assert_close(row, expected)


@pytest.mark.parametrize("method", [name for name, head in HEADS.items() if issubclass(head, BoxHead) and not head.no_graph])
def test_boxes_that_are_not_suppressed(method: str, extractor: Extractor) -> None:
    """Suppressed class by class, picture by picture, they are those of ``tensors``."""
    head = make((method, "objects", ""), extractor.backbone)
    found = extractor.look(pixels(2), head.needs)
    placement = found.placements[0]
    with torch.inference_mode():
        raw = head(found)
        boxes, scores = head.unsuppressed(raw, placement).values()
        expected = head.tensors(raw, placement)
    for picture in range(2):
        for label in range(len(head.classes)):
            likely = scores[picture, :, label] >= LOWEST
            mine, sure = boxes[picture][likely], scores[picture, likely, label]
            kept = nms(mine, sure * has_area(mine), head.overlap)
            there = (expected["pictures"] == picture) & (expected["labels"] == label)
            torch.testing.assert_close(expected["boxes"][there], mine[kept])
            torch.testing.assert_close(expected["scores"][there], sure[kept])
