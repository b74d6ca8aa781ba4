from mhkd.engine.storage import KEPT, ShortStorage


def test_of_each_scalar_the_last_values_are_kept():
    with ShortStorage(5) as storage:
        for k in range(3 * KEPT):
            storage.put_scalars(loss=float(k), rate=1.0)
            storage.step()
    history = storage.history("loss")
    assert [value for value, _ in history.values()] == list(range(2 * KEPT, 3 * KEPT))
    assert history.latest() == 3 * KEPT - 1 and history.median(20) == 3 * KEPT - 10.5
    assert storage.latest()["loss"] == (3 * KEPT - 1, 5 + 3 * KEPT - 1)
