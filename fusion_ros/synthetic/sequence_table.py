"""The synthetic tracking sequences: who is followed, when, through which weather and behind what.

The table is held fixed, so that numbers stay comparable: a sequence is a function of its row. Its targets were
chosen by following all people and cars of many streets through their exact truth; its attributes are what that
truth says by the rules of :data:`SEQUENCE_ATTRIBUTES`. The last twelve are a person crossing, one walking along
and a car for each way in which a camera fails that only one row had before them, in the first streets with such a
target.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from .obstacles import Obstacle
from .world import WorldSettings

__all__ = ["SEQUENCE_ATTRIBUTES", "TRACKING_SEQUENCES", "SequenceDefinition"]

SEQUENCE_ATTRIBUTES: Mapping[str, str] = MappingProxyType(
    {
        "day": "By day.",
        "night": "By night, under street lamps.",
        "smoke": "In smoke, which hides people from the colour camera.",
        "glare": "A low sun shines into the colour camera.",
        "darkness": "Too little light for the colour camera.",
        "fog": "In fog.",
        "thermal_crossover": "So hot that people are as warm as the street.",
        "thermal_low_contrast": "The thermal image has lost its contrast.",
        "thermal_frozen": "The thermal camera repeats frames.",
        "camera_motion": "The camera moves.",
        "partial_occlusion": "In 3 frames or more, 10 to 70 % of the target are seen though all of its box lies "
        "within the image.",
        "full_occlusion": "In 2 frames or more, less than 10 % are seen though half of its box is in the image.",
        "out_of_view": "In 2 frames or more, less than half of its box lies within the image.",
        "small_target": "The median area of its box is below 400 pixels.",
        "fast_motion": "The centre of its box moves by more than 20 pixels from one frame to the next.",
        "scale_change": "The area of its whole box falls below half, or rises above twice, that of the first.",
        "distractors": "In 5 frames or more, another target of its kind that is seen by half or more, with two "
        "thirds to one and a half of its height, is no farther away than the diagonal of its box.",
    }
)
"""What each attribute means. Occlusion is that of the colour camera's view."""


@dataclass(frozen=True)
class SequenceDefinition:
    """One tracking sequence.

    Attributes:
        name: Its name.
        target: Identity of the person or car that is followed.
        seed: Of the street; for this, condition, camera_motion, people, cars and thermal_crossover see
            :class:`WorldSettings`.
        start_s: World time of the first frame.
        distance_m: The target's median distance along the thermal camera's axis.
        attributes: Names in :data:`SEQUENCE_ATTRIBUTES`.
        degradations: Applied in this order, as :func:`fusion_ros.synthetic.degrade.parse_degradations` reads them.
        obstacles: What else stands in the street.
        frames: Number of frames.
        rate_hz: Frames a second, of both cameras at the same times.
    """

    name: str
    target: int
    seed: int
    start_s: float
    distance_m: float
    attributes: frozenset[str]
    condition: str = "day"
    camera_motion: str = "sway"
    people: int = 6
    cars: int = 4
    thermal_crossover: bool = False
    degradations: str = ""
    obstacles: tuple[Obstacle, ...] = ()
    frames: int = 60
    rate_hz: float = 12.0

    @property
    def world(self) -> WorldSettings:
        """The street and its cameras: 640 x 480 in colour, 320 x 256 thermal."""
        return WorldSettings(
            seed=self.seed,
            condition=self.condition,
            thermal_crossover=self.thermal_crossover,
            people=self.people,
            cars=self.cars,
            camera_motion=self.camera_motion,
        )


def _row(name: str, attributes: str, **fields: object) -> SequenceDefinition:
    return SequenceDefinition(name, attributes=frozenset(attributes.split()), **fields)  # type: ignore[arg-type]


_SEQUENCES = (
    _row("day_crossing", "day camera_motion scale_change distractors",
         target=1, seed=5, start_s=1.0, distance_m=8.6, camera_motion="patrol", cars=8),
    _row("night_crossing", "night camera_motion distractors",
         target=5, seed=13, start_s=0.0, distance_m=10.8, condition="night", cars=8),
    _row("smoke_crossing", "smoke camera_motion distractors",
         target=5, seed=22, start_s=1.0, distance_m=10.9, condition="smoke"),
    _row("hot_crossing", "day thermal_crossover camera_motion distractors",
         target=1, seed=7, start_s=0.0, distance_m=10.9, cars=8, thermal_crossover=True),
    _row("glare_crossing", "day glare camera_motion scale_change distractors",
         target=5, seed=26, start_s=2.0, distance_m=8.2, camera_motion="patrol", degradations="glare:30"),
    _row("day_crossing_together", "day camera_motion distractors",
         target=1, seed=25, start_s=1.0, distance_m=11.6, cars=8),
    _row("night_crossing_patrol", "night camera_motion distractors",
         target=1, seed=29, start_s=2.0, distance_m=8.1, condition="night", camera_motion="patrol", cars=8),
    _row("smoke_crossing_still", "smoke scale_change distractors",
         target=3, seed=15, start_s=25.0, distance_m=11.0, condition="smoke", camera_motion="still", cars=8),
    _row("hot_walker_coming", "day thermal_crossover camera_motion scale_change distractors",
         target=2, seed=23, start_s=33.0, distance_m=7.8, camera_motion="patrol", cars=8,
         thermal_crossover=True),
    _row("glare_walker_leaving", "day glare scale_change distractors",
         target=2, seed=24, start_s=8.0, distance_m=8.0, camera_motion="still", people=8,
         degradations="glare:30"),
    _row("day_walker_coming", "day camera_motion scale_change distractors",
         target=6, seed=25, start_s=31.0, distance_m=7.5, cars=8),
    _row("night_walker_leaving", "night camera_motion scale_change distractors",
         target=2, seed=13, start_s=26.0, distance_m=7.9, condition="night", cars=8),
    _row("smoke_walker_leaving", "smoke camera_motion scale_change distractors",
         target=2, seed=5, start_s=18.0, distance_m=8.2, condition="smoke", camera_motion="patrol", cars=8),
    _row("hot_behind_column",
         "day thermal_crossover camera_motion partial_occlusion full_occlusion scale_change distractors",
         target=5, seed=4, start_s=1.0, distance_m=10.6, people=8, thermal_crossover=True,
         obstacles=(Obstacle("column", 1.7, 9.6),)),
    _row("dark_crossing", "day darkness distractors",
         target=5, seed=3, start_s=23.0, distance_m=11.9, camera_motion="still", cars=8,
         degradations="darkness:1"),
    _row("day_behind_person", "day camera_motion partial_occlusion full_occlusion distractors",
         target=5, seed=26, start_s=5.6, distance_m=6.7, camera_motion="patrol"),
    _row("night_behind_person", "night camera_motion partial_occlusion full_occlusion scale_change distractors",
         target=2, seed=25, start_s=30.5, distance_m=8.9, condition="night", cars=8),
    _row("smoke_behind_van", "smoke partial_occlusion full_occlusion scale_change distractors",
         target=3, seed=18, start_s=26.0, distance_m=11.9, condition="smoke", camera_motion="still",
         obstacles=(Obstacle("van", 2.4, 13.4),)),
    _row("hot_night_crossing", "night thermal_crossover camera_motion scale_change distractors",
         target=1, seed=17, start_s=3.0, distance_m=7.7, condition="night", camera_motion="patrol", cars=8,
         thermal_crossover=True),
    _row("fog_crossing", "day fog camera_motion distractors",
         target=5, seed=10, start_s=26.0, distance_m=10.5, degradations="fog:20"),
    _row("day_behind_column", "day camera_motion partial_occlusion full_occlusion distractors",
         target=1, seed=19, start_s=1.0, distance_m=10.7, cars=8, obstacles=(Obstacle("column", 1.9, 9.6),)),
    _row("night_behind_column", "night partial_occlusion full_occlusion distractors",
         target=1, seed=6, start_s=0.0, distance_m=10.5, condition="night", camera_motion="still",
         obstacles=(Obstacle("column", 2.1, 9.6),)),
    _row("smoke_behind_person", "smoke camera_motion partial_occlusion full_occlusion scale_change distractors",
         target=6, seed=20, start_s=21.0, distance_m=11.8, condition="smoke", camera_motion="patrol",
         people=8),
    _row("hot_far_walker", "day thermal_crossover partial_occlusion small_target",
         target=2, seed=30, start_s=4.5, distance_m=29.7, camera_motion="still", thermal_crossover=True),
    _row("flat_thermal_crossing", "day thermal_low_contrast scale_change distractors",
         target=5, seed=21, start_s=23.0, distance_m=11.0, camera_motion="still", cars=8,
         degradations="thermal_low_contrast:10"),
    _row("day_behind_van", "day camera_motion partial_occlusion full_occlusion scale_change distractors",
         target=1, seed=28, start_s=1.0, distance_m=11.3, people=8, obstacles=(Obstacle("van", 1.2, 12.7),)),
    _row("night_leaves_view", "night camera_motion out_of_view",
         target=6, seed=13, start_s=35.0, distance_m=5.3, condition="night", cars=8),
    _row("smoke_car_leaving", "smoke camera_motion scale_change",
         target=11, seed=4, start_s=16.0, distance_m=22.2, condition="smoke", people=8),
    _row("frozen_thermal_crossing", "day thermal_frozen distractors",
         target=1, seed=12, start_s=1.0, distance_m=11.6, camera_motion="still", people=8,
         degradations="thermal_frozen:5"),
    _row("day_waiting", "day camera_motion distractors",
         target=3, seed=1, start_s=34.0, distance_m=9.9, cars=8),
    _row("night_car_coming", "night camera_motion scale_change distractors",
         target=8, seed=10, start_s=8.0, distance_m=22.0, condition="night", frames=50, rate_hz=10.0),
    _row("day_leaves_view", "day camera_motion out_of_view scale_change distractors",
         target=6, seed=14, start_s=35.0, distance_m=5.1, camera_motion="patrol"),
    _row("night_car_leaving", "night fast_motion scale_change",
         target=11, seed=24, start_s=12.0, distance_m=20.9, condition="night", camera_motion="still",
         people=8, frames=50, rate_hz=10.0),
    _row("day_car_leaving", "day camera_motion fast_motion scale_change",
         target=9, seed=2, start_s=13.0, distance_m=22.0, camera_motion="patrol"),
    _row("night_far_walker", "night camera_motion partial_occlusion small_target",
         target=6, seed=2, start_s=25.2, distance_m=29.2, condition="night", camera_motion="patrol"),
    _row("day_car_coming", "day scale_change distractors",
         target=8, seed=27, start_s=33.0, distance_m=22.3, camera_motion="still", cars=8, frames=50,
         rate_hz=10.0),
    _row("night_parked_car", "night camera_motion partial_occlusion distractors",
         target=7, seed=29, start_s=9.0, distance_m=14.5, condition="night", camera_motion="patrol", cars=8),
    _row("day_far_car", "day small_target scale_change",
         target=8, seed=15, start_s=30.0, distance_m=64.6, camera_motion="still", cars=8),
    _row("day_parked_car", "day camera_motion partial_occlusion distractors",
         target=7, seed=26, start_s=13.0, distance_m=15.7, camera_motion="patrol"),
    _row("fog_crossing_patrol", "day fog camera_motion distractors",
         target=7, seed=31, start_s=0.0, distance_m=9.2, camera_motion="patrol", people=8, degradations="fog:20"),
    _row("flat_thermal_crossing_sway", "day thermal_low_contrast camera_motion distractors",
         target=3, seed=41, start_s=24.5, distance_m=11.7, people=8, degradations="thermal_low_contrast:10"),
    _row("dark_crossing_among_many", "day darkness distractors",
         target=3, seed=51, start_s=23.5, distance_m=11.5, camera_motion="still", people=8,
         degradations="darkness:1"),
    _row("frozen_thermal_crossing_patrol", "day thermal_frozen camera_motion scale_change distractors",
         target=1, seed=61, start_s=4.5, distance_m=7.2, camera_motion="patrol", people=8,
         degradations="thermal_frozen:5"),
    _row("fog_walker_coming", "day fog camera_motion scale_change distractors",
         target=2, seed=71, start_s=18.0, distance_m=7.2, people=8, degradations="fog:20"),
    _row("flat_thermal_walker_coming", "day thermal_low_contrast scale_change distractors",
         target=2, seed=81, start_s=5.0, distance_m=8.5, camera_motion="still", people=8,
         degradations="thermal_low_contrast:10"),
    _row("dark_walker_leaving", "day darkness camera_motion scale_change distractors",
         target=6, seed=91, start_s=7.5, distance_m=7.4, camera_motion="patrol", people=8,
         degradations="darkness:1"),
    _row("frozen_thermal_walker_leaving", "day thermal_frozen camera_motion scale_change distractors",
         target=2, seed=101, start_s=21.5, distance_m=7.6, people=8, degradations="thermal_frozen:5"),
    _row("fog_car_leaving", "day fog fast_motion scale_change",
         target=11, seed=111, start_s=12.0, distance_m=20.5, camera_motion="still", people=8,
         degradations="fog:20"),
    _row("flat_thermal_car_leaving", "day thermal_low_contrast camera_motion scale_change distractors",
         target=11, seed=123, start_s=12.0, distance_m=21.6, people=8, degradations="thermal_low_contrast:10"),
    _row("dark_car_leaving", "day darkness camera_motion scale_change",
         target=9, seed=134, start_s=16.0, distance_m=22.7, cars=8, degradations="darkness:1"),
    _row("frozen_thermal_car_leaving", "day thermal_frozen fast_motion scale_change distractors",
         target=11, seed=141, start_s=12.0, distance_m=20.4, camera_motion="still", people=8,
         degradations="thermal_frozen:5"),
)  # fmt: skip
TRACKING_SEQUENCES: Mapping[str, SequenceDefinition] = MappingProxyType({row.name: row for row in _SEQUENCES})
"""The sequences by name, conditions in turn: the first few are a fair sample of the first 39."""
