import numpy as np

from student.encoding import ProductEncoder
from student.features import Encoder, normalise
from student.labels import LabelSpace
from student.wording import NAMES, Wording


def test_text_that_uses_the_words_of_a_shelf_is_near_it() -> None:
    encoder = ProductEncoder(Encoder.fit(["peanut oil 1l", "white bread", "oats"]), [])
    space = LabelSpace([("pantry", "cooking", "peanut oils"), ("pantry", "baking", "bread mixes")], ["x"])
    lines = normalise(["peanut oil 1l", ""])
    encoded = encoder.encode_names(lines)
    columns = Wording(space, encoder).compare(lines, encoded, np.array([0, 0, 1]), np.array([0, 1, 0]))
    found = dict(zip(NAMES, columns, strict=True))
    assert found["words of shelf"].tolist() == [1, 0, 0]
    assert found["like shelf"][0] > found["like shelf"][1]
    assert found["like shelf"][2] == 0


def test_without_upper_levels_there_is_nothing_to_compare() -> None:
    encoder = ProductEncoder(Encoder.fit(["milk"]), [])
    encoded = encoder.encode_names(["milk"])
    columns = Wording(LabelSpace([()], ["x"]), encoder).compare(["milk"], encoded, np.array([0]), np.array([0]))
    assert [column.tolist() for column in columns] == [[0]] * len(NAMES)
