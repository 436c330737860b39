"""An epoch of a classify head from a full cache against an epoch of full fine-tuning of the same network on the same pictures.

Fine-tuning is real: forward in training mode, backward through every stage, AdamW step, batches of 16, pixels already in memory (so
that decoding does not count against it). The head's epoch reads the cache from disk. In turn, median of paired ratios.

    python bench/epoch.py
"""

import copy
import json
import tempfile
import time
from pathlib import Path
from statistics import median

import torch

from onelook import Geometry, Model, read
from onelook.data.augment import RECIPES
from onelook.heads.classify import Classify
from onelook.heads.pooled import part_lengths
from onelook.progress import QUIET
from onelook.training.gather import Gatherer
from onelook.training.loop import Schedule, fit
from onelook.training.problem import candidate_needs
from onelook.training.request import Request
from pictures import write_photos

COUNT, REPEATS = 320, 3


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_photos(Path(folder) / "photos", COUNT)
        data = read(Path(folder) / "photos")
        model = Model.new(geometry=Geometry(224), cache=Path(folder))
        extractor = model.extractor(Geometry(224))
        needs = candidate_needs(model.backbone.strides)[-1]
        request = Request(Classify, Classify.Options())
        rows = Gatherer(extractor, Path(folder), request, data, RECIPES["light"], 0, QUIET)(1).data
        targets, paths = rows.targets, rows.paths
        inputs = sum(part_lengths(needs, model.backbone.channels, model.backbone.embedding_size))
        head = Classify(data.classes, strides=needs.pooled, embedding=True, inputs=inputs, form="hidden", units=256)
        decoded = (extractor.decode(path, path.read_bytes(), "0" * 32)[0].content for path in paths)
        pixels = torch.stack([model.backbone.normalize(content) for content in decoded])
        network = copy.deepcopy(model.backbone.network).requires_grad_(True)
        network.classifier = torch.nn.Linear(1280, 2)
        network = network.to(memory_format=torch.channels_last).train()
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)

        def ours() -> float:
            begun = time.perf_counter()
            list(fit(head, rows.batches(torch.ones(COUNT, dtype=torch.bool), needs, 0, 128), Schedule(epochs=1)))
            return time.perf_counter() - begun

        def theirs() -> float:
            begun = time.perf_counter()
            for part in torch.randperm(COUNT).split(16):
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(network(pixels[part].to(memory_format=torch.channels_last)), targets[part]).backward()
                optimizer.step()
            return time.perf_counter() - begun

        ours()
        pairs = [(ours(), theirs()) for _ in range(REPEATS)]
    ratios = [b / a for a, b in pairs]
    print(f"{COUNT} pictures: head {median(a for a, _ in pairs):.3f} s, full fine-tuning {median(b for _, b in pairs):.1f} s an epoch")
    print(json.dumps({"what": "epoch", "pictures": COUNT, "pairs": pairs, "ratio": median(ratios), "ratios": ratios}))


if __name__ == "__main__":
    main()
