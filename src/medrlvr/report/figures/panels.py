"""Figures of many small panels: training metrics, reward-hacking indicators, ablations."""

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from medrlvr.report.figures.style import (
    COLOURS,
    LINES,
    PAGE,
    STAGE_COLOURS,
    STAGE_NAMES,
    STYLE,
    draw_band,
    grid,
    in_order,
)

mpl.use("Agg")


PANELS = {
    "training": {
        "mean reward": {"reward": "reward"},
        "KL to the base, per token": {"kl": "KL"},
        "entropy, nats per token": {"entropy": "entropy"},
        "surprisal, nats per token": {"surprisal_right": "right", "surprisal_wrong": "wrong"},
        "value loss": {"value_loss": "value loss"},
        "explained variance": {"explained_variance": "explained variance"},
        "gradient norm": {"gradient_norm": "actor", "critic_gradient_norm": "critic"},
        "equal rewards, share": {"equal_rewards": "equal rewards"},
        "length, characters": {"chars_right": "right", "chars_wrong": "wrong"},
    },
    "hacking": {
        "share of valid format": {
            "early_answer": "answer given away early",
            "empty_think": "empty think block",
            "pre_think": "reasoning before <think>",
            "loose_format": "not strict",
            "invented_evidence": "cites an invented finding",
        },
        "share of responses": {f"stage_{name}": title for name, title in list(STAGE_NAMES.items())[:-1]},
        "characters": {"think_chars": "think block", "chars_before_think": "before <think>"},
        "position bias": {"position_bias": "answered vs right letters"},
        "self-verification, share": {"self_verification": "has such a phrase"},
        "share of all responses": {"truncated": "cut at the limit", "unparsed": "no readable answer"},
    },
    "ablations": {
        "mean reward": {"reward": ""},
        "right answer, share": {"correct": ""},
        "length, characters": {"chars": ""},
        "given away early, share": {"early_answer": ""},
    },
}
"""Figure -> panel's label -> column of the dynamics -> line's label."""


def panels_table(dynamics: pd.DataFrame, figure: str) -> pd.DataFrame:
    """Return the columns of a figure of `PANELS`, with arm, seed and update, and for "training" the reward's parts.

    Columns without any value are left out.

    Args:
        dynamics: rows of `tabulate` with the columns arm and seed.
        figure: a key of `PANELS`.
    """
    # If another arm has a critic, an arm without one has the critic's columns too, but they are empty.
    known = [str(name) for name in dynamics.dropna(axis="columns", how="all")]
    columns = [column for lines in PANELS[figure].values() for column in lines if column in known]
    columns += [name for name in known if figure == "training" and is_reward_part(name)]
    return dynamics.loc[dynamics["responses"].notna(), ["arm", "seed", "update", *columns]]


def is_reward_part(name: str) -> bool:
    """Return whether a column of the dynamics is the mean contribution of one term of the reward."""
    return name.startswith("reward_") and name != "reward_sd"


def draw_panels(table: pd.DataFrame, figure: str, width: float = PAGE) -> Figure:
    """Draw a figure of `PANELS`: means over seeds with their range, one colour per line, one line style per arm.

    Args:
        table: as `panels_table` returns it.
        figure: a key of `PANELS`.
        width: `PAGE` or `COLUMN`.
    """
    panels = {
        label: {name: line for name, line in lines.items() if name in table} for label, lines in PANELS[figure].items()
    }
    parts = [name for name in map(str, table) if is_reward_part(name)]
    if len(parts) > 1:
        panels["mean reward"] |= {name: name.removeprefix("reward_").replace("_", " ") for name in parts}
    panels = {label: lines for label, lines in panels.items() if lines}
    arms = list(dict.fromkeys(table["arm"]))
    with mpl.rc_context(STYLE):
        rows = -(-len(panels) // 2)
        drawn, axes = grid(rows, 2, width, (1.9 * rows, 3.2 * rows), sharex=True)
        ordered = in_order(axes, width)
        shown, unused = ordered[: len(panels)], ordered[len(panels) :]
        for axis, (label, lines) in zip(shown, panels.items(), strict=True):
            for index, (column, name) in enumerate(lines.items()):
                for number, arm in enumerate(arms):
                    one = table.loc[table["arm"] == arm, ["update", column]].rename(columns={column: "value"})
                    text = ", ".join(filter(None, [name, arm if len(arms) > 1 else ""]))
                    colour = COLOURS[(number if figure == "ablations" else index) % len(COLOURS)]
                    colour = STAGE_COLOURS.get(column.removeprefix("stage_"), colour)
                    style = LINES[(number if len(arms) > 1 else index) % len(LINES)]
                    draw_band(axis, one, colour, style, text)
            axis.set_ylabel(label)
            if "share" in label:
                axis.set_ylim(0, max(0.05, axis.get_ylim()[1]))
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
            # All panels of ablations have the same lines, and a legend inside a panel would cover them.
            if len(lines) * len(arms) > 1 and figure != "ablations":
                axis.legend(loc="best", fontsize=7)
        if figure == "ablations":
            drawn.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=min(len(arms), 2))
        # The lowest panel of each column; with an odd number of panels, one of them is a row higher.
        lowest = shown[-2:] if width == PAGE else shown[-1:]
        for axis in lowest:
            axis.set_xlabel("update")
            axis.tick_params(labelbottom=True)
        for axis in unused:
            axis.set_axis_off()
        return drawn
