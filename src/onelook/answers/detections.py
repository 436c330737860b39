"""Boxes and key points as ``supervision`` objects that also print, draw and serialise themselves.

They can be filtered like arrays and handed to that library's trackers, annotators and converters; what comes out of a filter is the
library's plain object. Importing this module imports ``supervision``: heads do so when they first answer.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from onelook.answers.answer import Answer
from onelook.answers.canvas import COLOURS, GREY, INK, PALETTE, PAPER, Colour
from onelook.facts import Facts
from onelook.geometry.objects import Layout
from onelook.geometry.supervision import supervision

HIGH, WIDE = 40, 300  # pixels that a label of full size takes, about
CROWDED = 12  # boxes from which on labels are written smaller
BRIGHT = 400  # sum of red, green and blue from which a label is written in black
SURE = 0.3  # score from which a key point counts as found; below it is drawn in grey


class Detections(supervision.Detections, Answer):  # type: ignore[misc]
    """Boxes of one picture, best first: ``xyxy`` in its own pixels, ``confidence``, ``class_id``, ``data["class_name"]``.

    ``tracker_id``: of a film's frames, the numbers of things that are followed; -1 for what is not (yet).
    """

    overlay = True

    @staticmethod
    def of(boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> "Detections":
        """From boxes (N, 4) xyxy, scores (N,) and class ids (N,)."""
        names = np.array([classes[label] for label in labels], dtype=object).astype(str) if len(labels) else np.array([], dtype=str)
        return Detections(
            xyxy=boxes.reshape(-1, 4).astype(np.float32),
            confidence=scores.astype(np.float32),
            class_id=labels.astype(int),
            data={"class_name": names},
        )

    def numbered(self, tracks: np.ndarray) -> "Detections":
        """The same boxes with the numbers (N,) of the tracks that they belong to, -1 for none."""
        return Detections(self.xyxy, confidence=self.confidence, class_id=self.class_id, data=self.data, tracker_id=tracks.astype(int))

    def where(self, kept: np.ndarray) -> "Detections":
        """The boxes for which ``kept`` (N,) says so."""
        of, tracks = self.data["class_name"][kept], self.tracker_id
        return Detections(
            self.xyxy[kept], None, self.confidence[kept], self.class_id[kept], None if tracks is None else tracks[kept], {"class_name": of}
        )

    def to_json(self) -> Facts:
        columns = zip(self.xyxy.tolist(), self.confidence.tolist(), self.class_id.tolist(), self.data["class_name"], strict=True)
        boxes = [{"label": str(name), "class_id": k, "score": score, "box": box} for box, score, k, name in columns]
        return {"boxes": [box | track for box, track in zip(boxes, self._tracks(), strict=True)]}

    def _tracks(self) -> list[Facts]:
        if self.tracker_id is None:
            return [{}] * len(self)
        return [{"track": number if number >= 0 else None} for number in self.tracker_id.tolist()]

    def rows(self) -> list[Facts]:
        boxes = self.to_json()["boxes"]
        corners = ("xmin", "ymin", "xmax", "ymax")
        return [
            {"label": box["label"], "score": box["score"], **dict(zip(corners, box["box"], strict=True)), **track}
            for box, track in zip(boxes, self._tracks(), strict=True)
        ]

    def __str__(self) -> str:
        counts = Counter(map(str, self.data["class_name"]))
        return ", ".join(f"{count} {name}" for name, count in counts.most_common()) or "nothing"

    def draw(self, picture: Image.Image, grow: float = 1.0, colour: Colour | None = None) -> Image.Image:
        """Boxes with their labels; in one colour without labels, so that two answers can lie over each other."""
        line = max(1, round(max(picture.size) / 400))
        if colour is not None:
            picture = picture.copy()
            pen = ImageDraw.Draw(picture)
            for box in (self.xyxy * grow).tolist():
                pen.rectangle(box, outline=colour, width=2 * line)
            return picture
        scaled = supervision.Detections(self.xyxy * grow, confidence=self.confidence, class_id=self.class_id, data=self.data)
        crowded = len(self) > CROWDED
        palette = supervision.ColorPalette([supervision.Color(*rgb) for rgb in PALETTE])
        picture = supervision.BoxAnnotator(palette, thickness=line).annotate(picture.copy(), scaled)
        labels = [f"{name} {score:.2f}" for name, score in zip(self.data["class_name"], self.confidence, strict=True)]
        if self.tracker_id is not None:
            labels = [f"#{number} {label}" if number >= 0 else label for number, label in zip(self.tracker_id, labels, strict=True)]
        size = max(0.35, max(picture.size) / 1600) * (0.7 if crowded else 1)
        inks = supervision.ColorPalette([supervision.Color(*(PAPER if sum(rgb) > BRIGHT else INK)) for rgb in PALETTE])
        drawn: Image.Image = picture
        kept_in = np.full(len(self), True)  # labels that are moved into the picture, and off each other
        if crowded:
            kept_in = (scaled.xyxy[:, 1] < HIGH * size) | (scaled.xyxy[:, 0] > picture.width - WIDE * size)
        for smart, some in ((False, ~kept_in), (True, kept_in)):
            writer = supervision.LabelAnnotator(
                palette, text_color=inks, text_scale=size, text_thickness=1, text_padding=2, smart_position=smart
            )
            if some.any():
                drawn = writer.annotate(drawn, scaled[some], labels=[label for label, mine in zip(labels, some, strict=True) if mine])
        return drawn


class KeyPoints(supervision.KeyPoints, Answer):  # type: ignore[misc]
    """The key points of one object: ``xy`` (1, K, 2) in pixels of the picture, ``keypoint_confidence`` (1, K), names in ``data``."""

    overlay = True

    @staticmethod
    def of(points: np.ndarray, scores: np.ndarray, layout: Layout) -> "KeyPoints":
        """From points (K, 2) and scores (K,)."""
        found = KeyPoints(
            xy=points[None].astype(np.float32), keypoint_confidence=scores[None].astype(np.float32), class_id=np.zeros(1, dtype=int)
        )
        found.data["names"] = np.array([layout.names])
        found.data["skeleton"] = np.array([layout.skeleton], dtype=int).reshape(1, -1, 2)
        return found

    def to_json(self) -> Facts:
        columns = zip(self.data["names"][0], self.xy[0].tolist(), self.keypoint_confidence[0].tolist(), strict=True)
        return {"points": [{"name": str(name), "x": x, "y": y, "score": score} for name, (x, y), score in columns]}

    def spots(self) -> list[tuple[float, float, str]]:
        return [(point["x"], point["y"], f"{point['name']} {point['score']:.2f}") for point in self.to_json()["points"]]

    def __str__(self) -> str:
        return f"{int((self.keypoint_confidence[0] >= SURE).sum())} of {self.xy.shape[1]} points sure"

    def rows(self) -> list[Facts]:
        return [{"label": point["name"], **{key: point[key] for key in ("x", "y", "score")}} for point in self.to_json()["points"]]

    def draw(self, picture: Image.Image, grow: float = 1.0, colour: Colour | None = None) -> Image.Image:
        """The points and the lines between them, those with a low score in grey; or all in one colour."""
        picture = picture.copy()
        pen = ImageDraw.Draw(picture)
        size = max(2, round(max(picture.size) / 120))
        for person, scores in zip(self.xy * grow, self.keypoint_confidence, strict=True):
            for number, (one, other) in enumerate(self.data["skeleton"][0].tolist()):
                least = float(min(scores[one], scores[other]))
                if least <= 0:
                    continue  # a point that is not labelled lies nowhere
                line = colour or (COLOURS[number % len(COLOURS)] if least >= SURE else GREY)
                pen.line([tuple(person[one]), tuple(person[other])], fill=line, width=max(1, size // 2))
            for (x, y), score in zip(person.tolist(), scores.tolist(), strict=True):
                if score > 0:
                    fill = colour or (INK if score >= SURE else GREY)
                    pen.ellipse([x - size, y - size, x + size, y + size], fill=fill, outline=PAPER)
        return picture
