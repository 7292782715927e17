from postprocess.remembered import remembered


def test_short_texts_are_remembered_and_long_ones_are_not():
    asked = []

    @remembered(2, short=3)
    def size(text, more=0):
        """Return a size."""
        asked.append(text)
        return len(text) + more

    assert [size("abc"), size("abc"), size("abc", 1)] == [3, 3, 4]
    assert [size("abcd"), size("abcd")] == [4, 4]
    assert asked == ["abc", "abc", "abcd", "abcd"]
    assert [size("a"), size("b"), size("abc")] == [1, 1, 3]
    assert asked[4:] == ["a", "b", "abc"]
    assert size.__doc__ == "Return a size."
