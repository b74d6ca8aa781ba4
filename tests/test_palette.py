from mhkd.palette import class_colors


def test_known_classes_keep_their_colours():
    colors = class_colors(["sclerotic", "normal"])
    assert colors == class_colors(["normal", "sclerotic"])
    more = class_colors(["fibrosis", "Normal", "sclerotic"])
    assert more["Normal"] == colors["normal"] and more["sclerotic"] == colors["sclerotic"]


def test_up_to_eight_classes_differ():
    colors = class_colors(["normal", "sclerotic", *"abcdef"])
    assert len(set(colors.values())) == 8
    assert class_colors(list("abcdefgh"))["h"] == colors["b"]  # of more, some share
