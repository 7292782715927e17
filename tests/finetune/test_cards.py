import pytest

from catalog.errors import ShelfmarkError
from finetune.cards import load_cards


def test_every_price_has_a_date_and_a_source() -> None:
    cards = {card.name: card for card in load_cards()}
    assert {"T4", "L4", "A40", "A100-40", "A100-80", "H100"} <= cards.keys()
    assert all(card.priced and card.source for card in cards.values() if card.dollars is not None)
    assert all(card.dollars != 0 for card in cards.values())
    assert [card.name for card in cards.values() if not card.bfloat16] == ["T4"]
    assert (cards["A40"].dollars, cards["A40"].memory) == (0.5, 48)


def test_figures_and_cards_of_one_s_own(tmp_path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[cards.A40]\ndollars = 0.3\n[cards.mine]\nmemory = 12\ntflops = 50\nbandwidth = 400\n")
    cards = {card.name: card for card in load_cards(file)}
    # A price of one's own does not keep the old one's date.
    assert (cards["A40"].dollars, cards["A40"].priced, cards["A40"].source) == (0.3, "", "mine.toml")
    assert cards["A40"].tflops == 149.7
    assert (cards["mine"].memory, cards["mine"].dollars) == (12, None)
    assert list(cards)[-1] == "mine"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[cards.A40]\ndolars = 1", r"\[cards\.A40\]: a card has no 'dolars' \(did you mean 'dollars'\?\)"),
        ("[cards.A40]\nmemory = 0", r"\[cards\.A40\]: memory is 0"),
        ("[cards.mine]\nmemory = 4", r"\[cards\.mine\]: 'tflops' is missing"),
        ("[A40]\ndollars = 1", r"no cards in it"),
        ("[cards]\nA40 = 1", r"no cards in it"),
        ("[cards", "not TOML"),
    ],
)
def test_wrong_files(tmp_path, text: str, message: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(ShelfmarkError, match=message):
        load_cards(file)


def test_no_file(tmp_path) -> None:
    with pytest.raises(ShelfmarkError, match=r"--cards .*none\.toml: cannot be read"):
        load_cards(tmp_path / "none.toml")
