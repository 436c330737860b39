"""What is in a film: its shots, a frame for each, and what is said for which share of the time.

onelook video summary film.mp4 --model mine.onelook --report page/
"""

from dataclasses import dataclass

from PIL import Image

from onelook.asker import Asker
from onelook.data.film import Film
from onelook.facts import Facts
from onelook.modelparts import answer_options
from onelook.video.asked import Asked
from onelook.video.shots import Shot, find_shots
from onelook.video.watch import Moment, Watcher, share_of_time

KEY = 480  # pixels of the shorter side of a key frame


@dataclass(frozen=True)
class Summary:
    """What is in a film: its shots, each with a frame that stands for it and what is said in it; shares of the time of all that is said."""

    film: Film
    shots: list[Shot]
    keys: list[Image.Image]
    answers: list[Moment]
    shares: list[Facts]
    whole: Facts

    def to_json(self) -> Facts:
        said = [
            {
                **shot.to_json(),
                "key": moment.number,
                "answers": {name: str(answer) for name, answer in moment.answers.items()},
                "shares": share,
            }
            for shot, moment, share in zip(self.shots, self.answers, self.shares, strict=True)
        ]
        return {"film": str(self.film.path), "seconds": self.film.seconds, "shots": said, "share_of_time": self.whole}


def summarise(source: str, asker: Asker, asked: Asked = Asked()) -> Summary:
    """Shots, key frames, and what is said for which share of the time."""
    asked.check()
    film = Film.open(source)
    shots = find_shots(Watcher(asker, film, embeddings=True), asked.start, asked.end)
    watcher = Watcher(asker, film)
    options = answer_options(list(asker.heads.values()), asked.conf, None)
    moments = list(watcher.moments(film.chosen(asked.every, asked.start, asked.end), options))
    keys = sorted({shot.key for shot in shots})
    said = {moment.number: moment for moment in watcher.moments(keys, options)}
    pictures = {frame.number: frame.picture for frame in film.frames(keys, KEY)}
    shots = [shot for shot in shots if shot.key in said and shot.key in pictures]
    shares = [share_of_time(moment for moment in moments if shot.first <= moment.number <= shot.last) for shot in shots]
    return Summary(film, shots, [pictures[shot.key] for shot in shots], [said[shot.key] for shot in shots], shares, share_of_time(moments))
