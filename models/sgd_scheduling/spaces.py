"""What a scheduler may set: which machines work, which serve, and each worker's share of the batch."""

import boatppl as boat


def space(n: int = 10) -> boat.Space:
    """Return the space of ``n`` machines: their shares of the batch, who works and who serves.

    The default is equal shares with everyone working and serving. The shares of machines that do not work
    count for nothing: the others take the batch in proportion to theirs.
    """
    return boat.Space(
        share=boat.Simplex(n, dim="machine"),
        works=boat.Subset(n, dim="machine", least=1),
        serves=boat.Subset(n, dim="machine", least=1),
    )
