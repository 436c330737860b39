"""How right labels are: one class out of several, or any number of labels; the metrics themselves are scikit-learn's.

onelook val test-photos/ --model mine.onelook --head kind
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from onelook.facts import Facts
from onelook.metrics.calibration import Bin, calibration_error, reliability
from onelook.metrics.intervals import wilson_interval
from onelook.metrics.judge import Curves, Judge, Table, percent


class _LabelJudge(Judge[Tensor, Tensor]):
    """What both judges of labels share: predictions are logits (K,)."""

    headline = "accuracy"

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = tuple(classes)
        self.predictions: list[Tensor] = []
        self.targets: list[Tensor] = []

    def add(self, predictions: Sequence[Tensor], targets: Sequence[Tensor]) -> None:
        """Logits (K,) of each picture, and its class id () or zeros and ones (K,)."""
        self.predictions += [prediction.detach().float().cpu() for prediction in predictions]
        self.targets += [torch.as_tensor(target).cpu() for target in targets]

    @property
    def logits(self) -> Tensor:
        """All predictions (n, K)."""
        return torch.stack(self.predictions)

    @property
    def truth(self) -> Tensor:
        """All targets, (n,) or (n, K)."""
        return torch.stack(self.targets)

    def bins(self) -> tuple[Bin, ...]:
        """Answers by confidence."""
        return reliability(self.logits, self.truth)

    def in_words(self, metrics: Facts) -> str:
        return f"accuracy {percent(metrics['accuracy'], metrics['accuracy_interval'])} on {metrics['n']} pictures"

    def curves(self, before: "Judge[Tensor, Tensor] | None" = None) -> list[Curves]:
        """Reliability: the share of right answers against their confidence."""
        named = {"before the temperature": before} if isinstance(before, _LabelJudge) else {}
        lines, sizes = {}, {}
        for name, judge in {**named, "as answered": self}.items():
            assert isinstance(judge, _LabelJudge)
            bins = judge.bins()
            total = max(1, sum(entry.count for entry in bins))
            lines[name] = ([entry.confidence for entry in bins], [entry.right for entry in bins])
            sizes[name] = [entry.count / total for entry in bins]
        note = "On the dashed line, of the answers given with 80 % confidence 80 % are right. Larger dots: more answers."
        title = "Can the probabilities be believed?"
        return [Curves(title, "confidence", "share of answers that are right", lines, note, diagonal=True, sizes=sizes)]


class SingleLabelJudge(_LabelJudge):
    """Accuracy with its interval, macro F1, log loss, calibration error and the confusion matrix (rows: truth, columns: answer)."""

    figures = {  # noqa: RUF012
        "accuracy": "share right",
        "f1_macro": "F1, mean of classes",
        "log_loss": "log loss",
        "ece": "calibration error",
        "ece_before": "calibration error before the temperature",
    }

    def result(self) -> Facts:
        from sklearn import metrics

        truth = self.truth.numpy()
        said = self.logits.argmax(1).numpy()
        ids = list(range(len(self.classes)))
        present = sorted({*truth.tolist()})
        correct = int((said == truth).sum())
        recall = metrics.recall_score(truth, said, labels=ids, average=None, zero_division=0)
        probabilities = self.logits.double().softmax(dim=1).numpy()
        return {
            "n": len(truth),
            "accuracy": correct / len(truth),
            "accuracy_interval": list(wilson_interval(correct, len(truth))),
            "f1_macro": float(metrics.f1_score(truth, said, labels=present, average="macro", zero_division=0)),
            "log_loss": float(metrics.log_loss(truth, probabilities, labels=ids)),
            "ece": calibration_error(self.bins()),
            "recall": {name: float(recall[index]) for index, name in enumerate(self.classes) if index in present},
            "confusion": {
                "classes": list(self.classes),
                "rows_truth": metrics.confusion_matrix(truth, said, labels=ids).tolist(),
            },
        }

    def each(self) -> Tensor:
        """1 for a right answer, 0 for a wrong one."""
        return (self.logits.argmax(1) == self.truth).double()

    def tables(self, metrics: Facts) -> list[Table]:
        """Truth by row, answer by column; every class's share of right answers with its interval."""
        matrix = metrics["confusion"]
        rows, shades = [], []
        for index, (name, counts) in enumerate(zip(matrix["classes"], matrix["rows_truth"], strict=True)):
            total = sum(counts)
            if not total:
                continue
            low, high = wilson_interval(counts[index], total)
            rows.append((name, *map(str, counts), f"{counts[index] / total:.0%} ({low:.0%} to {high:.0%})"))
            shades.append((0.0, *(round(0.75 * count / total, 3) for count in counts), 0.0))
        header = ("truth \\ answer", *matrix["classes"], "right (95 % interval)")
        return [Table("What is taken for what", header, tuple(rows), shades=tuple(shades))]

    def worst(self, count: int) -> list[tuple[int, str]]:
        """The answers that were wrong and surest."""
        probability, said = self.logits.double().softmax(1).max(1)
        truth = self.truth
        wrong = (said != truth).nonzero().flatten().tolist()
        wrong.sort(key=lambda index: -float(probability[index]))
        names = self.classes
        return [(i, f"said {names[int(said[i])]} {float(probability[i]):.0%}, is {names[int(truth[i])]}") for i in wrong[:count]]


class MultiLabelJudge(_LabelJudge):
    """Share of pictures with all labels right, share of single labels right, macro F1 and mean average precision."""

    figures = {  # noqa: RUF012
        "accuracy": "share of pictures with all labels right",
        "label_accuracy": "share of single labels right",
        "f1_macro": "F1, mean of classes",
        "mean_average_precision": "mean average precision",
        "ece": "calibration error",
        "ece_before": "calibration error before the temperature",
    }

    def result(self) -> Facts:
        from sklearn import metrics

        logits, truth = self.logits.numpy(), self.truth.numpy() >= 0.5
        said = logits >= 0
        right = int((said == truth).all(axis=1).sum())
        usable = [index for index in range(len(self.classes)) if truth[:, index].any()]
        precision = [metrics.average_precision_score(truth[:, index], logits[:, index]) for index in usable]
        return {
            "n": len(truth),
            "accuracy": right / len(truth),
            "accuracy_interval": list(wilson_interval(right, len(truth))),
            "label_accuracy": float((said == truth).mean()),
            "f1_macro": float(metrics.f1_score(truth[:, usable], said[:, usable], average="macro", zero_division=0)) if usable else 0.0,
            "mean_average_precision": float(np.mean(precision)) if precision else 0.0,
            "ece": calibration_error(self.bins()),
        }

    def each(self) -> Tensor:
        """1 where all labels are right, else 0."""
        return ((self.logits >= 0) == (self.truth >= 0.5)).all(1).double()

    def worst(self, count: int) -> list[tuple[int, str]]:
        """The pictures with the label that was furthest off."""
        probabilities, truth = self.logits.double().sigmoid(), self.truth
        error = (probabilities - truth).abs()
        found = []
        for index in error.max(1).values.argsort(descending=True).tolist()[:count]:
            column = int(error[index].argmax())
            there = "is there" if truth[index, column] >= 0.5 else "is not there"
            if float(error[index, column]) >= 0.5:
                found.append((index, f"{self.classes[column]} {float(probabilities[index, column]):.0%}, {there}"))
        return found
