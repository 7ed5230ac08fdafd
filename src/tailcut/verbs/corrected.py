"""A corrected data set from an audit: which rows to keep, to relabel, to drop."""

from __future__ import annotations

import pandas as pd

from tailcut.errors import DataError


def corrected(
    issues: pd.DataFrame, *, drop: float | None = 0.5, relabel: float | None = None
) -> pd.DataFrame:
    """The rows of a data set with the label that each is to have, and why.

    Only flagged labels change. Nothing is written and no file is moved.

    Args:
        issues: As `find_label_issues` returns it, a `key` or names beside it or not.
        drop: Probability of a wrong label from which on a row is dropped; None for none.
        relabel: From which on it gets the predicted label instead; None for none.

    Returns:
        One row for each row of `issues`: its `index`, its `key` if there is one, `given_label`,
        `label` (what it is to be; of a dropped row the given one), `action` ("keep", "relabel" or
        "drop") and `p_wrong`.

    Raises:
        DataError: A threshold that is no probability.
    """
    for name, threshold in (("drop", drop), ("relabel", relabel)):
        if threshold is not None and not 0 <= threshold <= 1:
            raise DataError(
                f"{name}={threshold}",
                wanted="a probability, 0 to 1",
                advice="Correct it, or leave it out",
            )
    flagged, p_wrong = issues["is_label_issue"], issues["p_wrong"]
    action = pd.Series("keep", index=issues.index)
    if drop is not None:
        action = action.mask(flagged & (p_wrong >= drop), "drop")
    if relabel is not None:
        action = action.mask(flagged & (p_wrong >= relabel), "relabel")
    label = issues["given_label"].mask(action == "relabel", issues["predicted_label"])
    known = issues[["key"]] if "key" in issues else issues[[]]
    columns = {"given_label": issues["given_label"], "label": label, "action": action}
    table = known.assign(**columns, p_wrong=p_wrong)
    return table.reset_index(names="index")
