"""What every head must do, on a random tiny backbone at 64 x 64."""

from typing import Any

import pytest
import torch

from onelook.backbone import Backbone
from onelook.engines import TorchEngine
from onelook.heads import HEADS
from onelook.heads.readout import equal_weights, part_lengths
from onelook.look import Geometry, Look, Needs
from onelook.looker import Looker, Pixels

CLASSES = ("one", "two", "three")
KINDS = [("classify", "single"), ("classify", "multi"), ("regress", "values")]


def make(task: str, kind: str, form: str, backbone: Backbone) -> Any:
    torch.manual_seed(0)
    needs = Needs(pooled=backbone.strides, embedding=True)
    lengths = part_lengths(needs, backbone.channels, backbone.embedding_size)
    options = {"multi": True} if kind == "multi" else {}
    head = HEADS[task](CLASSES, strides=needs.pooled, embedding=True, inputs=sum(lengths), form=form, units=7, width=0.5, **options)
    head.readout.weight.copy_(equal_weights(lengths))
    if form == "radial":
        head.body[0].centres.copy_(torch.randn(head.body[0].centres.shape))
    return head.eval()


def targets(kind: str, n: int) -> torch.Tensor:
    draw = torch.Generator().manual_seed(1)
    if kind == "single":
        return torch.randint(0, len(CLASSES), (n,), generator=draw)
    values = torch.rand(n, len(CLASSES), generator=draw)
    return values.round() if kind == "multi" else values


def pixels(n: int) -> list[Pixels]:
    draw = torch.Generator().manual_seed(2)
    placement = Geometry(64).place(64, 64)
    return [Pixels((f"{i:032x}", 0), torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8, generator=draw), placement) for i in range(n)]


@pytest.fixture(scope="module")
def looker(tiny: Backbone) -> Looker:
    return Looker(tiny, TorchEngine(tiny), Geometry(64))


def look(looker: Looker, needs: Needs, n: int = 5) -> Look:
    found = looker.look(pixels(n), needs)
    return Look(found.placements, found.maps, {s: p.clone() for s, p in found.pooled.items()}, found.embedding.clone())


@pytest.mark.parametrize("form", ["radial", "linear", "hidden"])
@pytest.mark.parametrize(("task", "kind"), KINDS)
class TestEveryHead:
    def test_shapes_loss_and_gradients(self, task: str, kind: str, form: str, looker: Looker) -> None:
        head = make(task, kind, form, looker.backbone).train()
        raw = head(look(looker, head.needs))
        assert raw.shape == (5, len(CLASSES))
        losses = head.loss(raw, targets(kind, 5))
        total = torch.stack(list(losses.values())).sum()
        assert torch.isfinite(total)
        total.backward()
        assert all(p.grad is not None and bool(p.grad.any()) for p in head.parameters())

    def test_one_answer_per_picture(self, task: str, kind: str, form: str, looker: Looker) -> None:
        head = make(task, kind, form, looker.backbone)
        for n in (1, 5):
            found = look(looker, head.needs, n)
            answers = head.answer(head(found), found.placements)
            assert len(answers) == n
            assert answers[0].to_json()

    def test_alone_as_in_a_batch(self, task: str, kind: str, form: str, looker: Looker) -> None:
        head = make(task, kind, form, looker.backbone)
        together = head(look(looker, head.needs))
        for index, one in enumerate(pixels(5)):
            alone = head(looker.look([one], head.needs))
            torch.testing.assert_close(alone[0], together[index], rtol=1e-5, atol=1e-5)

    def test_rebuilt_from_config_bit_for_bit(self, task: str, kind: str, form: str, looker: Looker) -> None:
        head = make(task, kind, form, looker.backbone)
        again = HEADS[task](**head.config())
        again.load_state_dict(head.state_dict())
        found = look(looker, head.needs)
        assert torch.equal(head(found), again.eval()(found))

    def test_judge(self, task: str, kind: str, form: str, looker: Looker) -> None:
        head = make(task, kind, form, looker.backbone)
        judge = head.judge()
        judge.add(head(look(looker, head.needs)), targets(kind, 5))
        result = judge.result()
        assert result["n"] == 5
        assert judge.headline in result
        low, high = result[judge.headline + "_interval"]
        assert low <= result[judge.headline] <= high

    def test_merging_one_answer_changes_nothing(self, task: str, kind: str, form: str, looker: Looker) -> None:
        head = make(task, kind, form, looker.backbone)
        raw = head(look(looker, head.needs)).detach()
        placements = look(looker, head.needs).placements
        merged = head.merge(torch.stack([raw, raw]))
        for one, other in zip(head.answer(raw, placements), head.answer(merged, placements), strict=True):
            assert _numbers(one.to_json()) == pytest.approx(_numbers(other.to_json()), abs=1e-5)

    def test_the_temperature_divides_the_scores(self, task: str, kind: str, form: str, looker: Looker) -> None:
        if kind == "values":
            pytest.skip("values have no temperature")
        head = make(task, kind, form, looker.backbone)
        found = look(looker, head.needs)
        raw = head(found)
        head.temperature = 4.0
        torch.testing.assert_close(head(found) * 4, raw)
        assert HEADS[task](**head.config()).temperature == 4.0

    def test_missing_part_is_named(self, task: str, kind: str, form: str, looker: Looker) -> None:
        head = make(task, kind, form, looker.backbone)
        found = looker.look(pixels(1), Needs(pooled=looker.backbone.strides[:1], embedding=True))
        with pytest.raises(Exception, match="this look has"):
            head(found)


def _numbers(answer: dict[str, Any]) -> dict[str, float]:
    """The probabilities or values of an answer."""
    found: dict[str, float] = answer.get("probabilities") or answer["values"]
    return found
