"""Intervals by drawing patients anew: slides of one patient are alike, so they are drawn together."""

import numpy as np

LEVEL = 0.95


def patient_samples(patients, num_samples, seed=0):
    """As many patients as there are, drawn with replacement, again and again.

    Args:
        patients (list[str]): the patient of each slide.
        num_samples (int): samples.
        seed (int): the same seed gives the same samples.

    Returns:
        ndarray: how often each slide is in each sample, int, shape (num_samples, S).
    """
    names, patient_of = np.unique(patients, return_inverse=True)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=num_samples)
    return drawn[:, patient_of]


def interval(values):
    """The percentile interval at 95 %.

    Args:
        values (array): of a statistic, one for each sample; nan where it does not exist.

    Returns:
        tuple[float, float] or None: None if it exists in no sample.
    """
    values = np.asarray(values, np.float64)
    values = values[~np.isnan(values)]
    if not len(values):
        return None
    tail = 50 * (1 - LEVEL)
    low, high = np.percentile(values, [tail, 100 - tail])
    return float(low), float(high)
