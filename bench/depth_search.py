"""How much ``--freeze auto`` gives away: its accuracy against every fixed policy's, with the same time for each.

    python bench/depth_search.py --set trashnet --budget 180
    python bench/depth_search.py --set elpv --share 0.1        # a tenth of the training pictures
    python bench/depth_search.py --set elpv --folds 4 --policies auto --budget 600

Split: trashnet 70/30 (seed 0 ..), ELPV stratified folds (seed 0). Tails have as many epochs as fit into the budget. Every policy has a
cache of its own, so that nothing is looked at before its time. Regret: the best fixed policy's accuracy minus auto's. The last line
is JSON.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

from accuracy import parts
from onelook import Geometry, Model
from onelook.data.split import split
from onelook.errors import OnelookError
from onelook.progress import Progress

POLICIES = ("auto", "all", "stride16", "stride8", "none")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", choices=["elpv", "trashnet"], default="trashnet")
    parser.add_argument("--share", type=float, default=1.0, help="of the training pictures")
    parser.add_argument("--budget", type=float, default=180)
    parser.add_argument("--folds", type=int, default=1, help="how many of the divisions to run")
    parser.add_argument("--policies", default=",".join(POLICIES))
    parser.add_argument("--augment", default="light")
    parser.add_argument("--tta", default="none")
    arguments = parser.parse_args()
    data, divisions = parts(arguments.set)
    found: dict[str, list[float]] = {policy: [] for policy in arguments.policies.split(",")}
    rows = []
    for number, (train, val) in enumerate(divisions[: arguments.folds]):
        learned = data.pick(train)
        if arguments.share < 1:
            learned = learned.pick(split(learned, arguments.share, 0)[1])
        for policy in found:
            with tempfile.TemporaryDirectory() as cache:
                model = Model.new(geometry=Geometry(224), cache=Path(cache))
                begun = time.perf_counter()
                try:
                    budget = None if policy == "all" else arguments.budget
                    fitted = model.fit("head", learned, freeze=policy, budget=budget, augment=arguments.augment, progress=Progress())
                except OnelookError as error:
                    print(f"{policy}: {error}", flush=True)
                    continue
                seconds = time.perf_counter() - begun
                judged = model.evaluate("head", data.pick(val), tta=arguments.tta)
            search = fitted.trained.search
            forecast = search.forecast if search else None
            accuracy = judged.metrics["accuracy"]
            found[policy].append(accuracy)
            facts = {
                "part": number,
                "policy": policy,
                "accuracy": accuracy,
                "log_loss": judged.metrics["log_loss"],
                "ece": judged.metrics["ece"],
            }
            facts |= {
                "ece_before": judged.metrics["ece_before"],
                "seconds": seconds,
                "forecast": forecast,
                "cut": fitted.trained.cut,
                "ms": judged.ms,
            }
            rows.append(facts | ({"why": search.why} if search else {}))
            print(json.dumps(rows[-1]), flush=True)
    means = {policy: statistics.mean(values) for policy, values in found.items() if values}
    spread = {policy: statistics.stdev(values) for policy, values in found.items() if len(values) > 1}
    fixed = {policy: value for policy, value in means.items() if policy != "auto"}
    regret = max(fixed.values()) - means["auto"] if fixed and "auto" in means else None
    print(json.dumps({**vars(arguments), "n": len(learned), "accuracy": means, "spread": spread, "regret": regret, "rows": rows}))


if __name__ == "__main__":
    main()
