"""All keys in one place: footer, help and command palette are made from these lists."""

from __future__ import annotations

from textual.binding import Binding

# Of the app. The footer shows as many as have room, from the first on.
BINDINGS: list[Binding] = [
    Binding("p", "pause", "Pause", id="run.pause", tooltip="Pause the training, or let it go on"),
    Binding("c", "checkpoint", "Checkpoint", id="run.checkpoint", tooltip="Save a checkpoint at the next step"),
    Binding("l", "learning_rate", "Learning rate", id="run.learning_rate",
            tooltip="Set the learning rate from here on"),
    Binding("e", "epochs", "Epochs", show=False, id="run.epochs",
            tooltip="Train for more epochs than planned, or fewer"),
    Binding("r", "roll_back", "Rollback", id="run.roll_back",
            tooltip="Go back to a checkpoint and on from there (asks)"),
    Binding("s", "stop", "Stop", id="run.stop",
            tooltip="Stop now or after the epoch, the app stays (asks)"),
    Binding("q", "leave", "Quit", id="app.quit", tooltip="Save a checkpoint and quit (asks first)"),
    Binding("question_mark", "help", "Help", key_display="?", id="app.help", tooltip="What is shown, and all keys"),
    Binding("m", "metrics", "Metrics", id="charts.metrics", tooltip="Choose the charts from everything recorded"),
    Binding("f", "full_chart", "Full", id="charts.full", tooltip="One chart over the whole screen, or back"),
    Binding("g", "machine", "Machine", id="view.machine", tooltip="GPUs, their processes, CPU, memory, disk"),
    Binding("f6,o", "runs", "Runs", id="app.runs", tooltip="All runs here: open, compare, delete"),
    Binding("d", "diagnostics", "Diagnostics", id="diagnostics.open",
            tooltip="Problems and fixes; again: all of the run"),
    Binding("slash", "log_filter", "Filter log", key_display="/", show=False, id="log.filter",
            tooltip="Filter the log by a text; Esc clears it"),
    Binding("v", "log_level", "Log level", show=False, id="log.level",
            tooltip="Log: warnings, errors, output, everything"),
    Binding("space", "log_pause", "Pause log", key_display="Space", show=False, id="log.pause",
            tooltip="Hold the log still, or follow it again"),
    Binding("end", "log_follow", "Follow log", key_display="End", show=False, id="log.follow",
            tooltip="Show the newest log lines"),
    Binding("y", "copy_folder", "Copy path", show=False, id="run.copy", tooltip="Copy the path of the run folder"),
    Binding("ctrl+q,ctrl+c", "leave", "Quit", key_display="^q", show=False, priority=True, id="app.leave",
            tooltip="Save and quit, from any page (asks first)"),
    Binding("f1", "phase(1)", "Plan", show=False, id="phase.plan", tooltip="Phase 1: plan the run"),
    Binding("f2", "phase(2)", "Baseline", show=False, id="phase.baseline", tooltip="Phase 2: train a baseline"),
    Binding("f3", "phase(3)", "Diagnose", show=False, id="phase.diagnose", tooltip="Phase 3: find what limits it"),
    Binding("f4", "phase(4)", "Optimize", show=False, id="phase.optimize", tooltip="Phase 4: search for better"),
    Binding("f5", "phase(5)", "Finalize", show=False, id="phase.finalize", tooltip="Phase 5: train, test, export"),
]  # fmt: skip

# For the chart that has the focus (Tab, a click, or f).
CHART_BINDINGS: list[Binding] = [
    Binding("x", "axis", "Axis", id="chart.axis", tooltip="x by epoch, by step or by time"),
    Binding("b", "scale", "Log/linear", id="chart.scale",
            tooltip="y automatic, or all of it: logarithmic, linear"),
    Binding("a", "smoothing", "Smooth", id="chart.smoothing",
            tooltip="Smooth each batch: none, 0.6, 0.9, 0.97"),
    Binding("plus,equals_sign", "zoom(1)", "Zoom in", key_display="+", show=False, id="chart.zoom_in",
            tooltip="Zoom in, around the cursor (also the wheel)"),
    Binding("minus", "zoom(-1)", "Zoom out", key_display="-", show=False, id="chart.zoom_out", tooltip="Zoom out"),
    Binding("left", "cursor(-1)", "Cursor left", key_display="←", show=False, id="chart.left",
            tooltip="Cursor to the left: reads values (also the mouse)"),
    Binding("right", "cursor(1)", "Cursor right", key_display="→", show=False, id="chart.right",
            tooltip="Cursor to the right"),
    Binding("shift+left,left_square_bracket", "pan(-1)", "Earlier", key_display="[", show=False, id="chart.earlier",
            tooltip="Zoomed in: earlier (also Shift and ←)"),
    Binding("shift+right,right_square_bracket", "pan(1)", "Later", key_display="]", show=False, id="chart.later",
            tooltip="Zoomed in: later (also Shift and →)"),
    Binding("0,home", "follow", "Follow", show=False, id="chart.follow",
            tooltip="The whole run again, up to the newest values"),
    Binding("up", "other(-1)", "Previous chart", key_display="↑", show=False, id="chart.previous",
            tooltip="The chart before, where not all have room"),
    Binding("down", "other(1)", "Next chart", key_display="↓", show=False, id="chart.next", tooltip="The next chart"),
    Binding("enter", "full", "Full", key_display="Enter", show=False, id="chart.full", tooltip="The same as f"),
    Binding("escape", "back", "Back", key_display="Esc", id="chart.back",
            tooltip="Cursor off, then full screen off, then focus off"),
]  # fmt: skip

# While the diagnostics panel is open.
DIAGNOSIS_BINDINGS: list[Binding] = [
    Binding("1", "diagnosis('fix', 1)", "Apply", key_display="1-9", show=False, id="diagnosis.fix_1",
            tooltip="Apply the fix of that number, as its lines tell"),
    Binding("u", "diagnosis('undo')", "Undo", id="diagnosis.undo",
            tooltip="Take the last fix back: config and weights as they were before it"),
    Binding("i", "diagnosis('ignore')", "Ignore", id="diagnosis.ignore", tooltip="Ignore this kind in this run"),
    Binding("I", "diagnosis('always')", "Always", id="diagnosis.always",
            tooltip="Ignore this kind in all runs (ignored.yaml beside keys.yaml)"),
    Binding("n", "diagnosis('next')", "Next", id="diagnosis.next", tooltip="The next open one, the worst first"),
    Binding("N", "diagnosis('previous')", "Previous", show=False, id="diagnosis.previous",
            tooltip="The open one before"),
    Binding("escape", "diagnosis('close')", "Close", key_display="Esc", id="diagnosis.close",
            tooltip="Close the panel; nothing is applied, the badge stays"),
]  # fmt: skip
MORE_FIX_KEYS = [
    Binding(str(number), f"diagnosis('fix', {number})", "Apply", show=False, id=f"diagnosis.fix_{number}")
    for number in range(2, 10)
]

OWN_ACTIONS = frozenset(
    {item.action for item in BINDINGS if (item.id or "").startswith("run.")} | {"machine", "runs"}
)
"""What concerns this app's own run: not to be had while others are looked at."""

PANEL_ACTIONS = frozenset(
    item.action for item in BINDINGS if (item.id or "").startswith(("charts.", "log.", "diagnostics."))
)
"""What needs a run's charts and log in front."""

BACK = Binding(
    "escape,q", "close", "Back", key_display="Esc", id="page.back",
    tooltip="Back to where this was opened from (also q)",
)  # fmt: skip

# On the list of runs: on the table itself, and on its screen.
RUN_TABLE_BINDINGS: list[Binding] = [
    Binding("enter", "select_cursor", "Open", key_display="Enter", id="runs.open",
            tooltip="Show this run, read only"),
    Binding("home", "scroll_top", "First", key_display="Home", show=False, id="runs.first", tooltip="To the first run"),
    Binding("end", "scroll_bottom", "Last", key_display="End", show=False, id="runs.last", tooltip="To the last run"),
    Binding("space", "screen.mark", "Mark", key_display="Space", id="runs.mark", tooltip="Mark this run for comparing"),
]  # fmt: skip

RUNS_BINDINGS: list[Binding] = [
    BACK,
    Binding("c", "compare", "Compare", id="runs.compare", tooltip="Compare the marked runs"),
    Binding("b", "overlay", "Behind", id="runs.overlay",
            tooltip="Draw the marked runs behind this run's charts"),
    Binding("s", "sort(1)", "Sort", id="runs.sort", tooltip="Sort by the next column"),
    Binding("S", "sort(-1)", "Sort left", show=False, id="runs.sort_left", tooltip="Sort by the column before"),
    Binding("r", "turn", "Reverse", show=False, id="runs.reverse", tooltip="Sort the other way round"),
    Binding("x,delete", "delete", "Delete", id="runs.delete", tooltip="Delete this run for good (asks first)"),
]  # fmt: skip

COMPARE_BINDINGS: list[Binding] = [
    Binding("m", "metric(1)", "Next metric", id="compare.metric", tooltip="Show the next metric in the chart"),
    Binding("M", "metric(-1)", "Metric before", show=False, id="compare.metric_before",
            tooltip="Show the metric before"),
    BACK,
]  # fmt: skip

MACHINE_BINDINGS: list[Binding] = [
    Binding("escape,q,g", "close", "Back", key_display="Esc", id="machine.back",
            tooltip="Back to the run (also q and g)"),
]  # fmt: skip

# On the Plan screen: on its lists, and on the screen itself.
PLAN_LIST_BINDINGS: list[Binding] = [
    Binding("enter", "pick", "Edit, show", key_display="Enter", id="plan.edit",
            tooltip="Edit the setting; open or shut the group; show what is known of the item"),
    Binding("space", "screen.choice", "Choose", key_display="Space", show=False, id="plan.choice",
            tooltip="A setting that is one of a few words: the next of them"),
    Binding("delete,backspace", "screen.put_back", "Put back", show=False, id="plan.put_back",
            tooltip="Give the setting the template's value again"),
]  # fmt: skip

PLAN_BINDINGS: list[Binding] = [
    Binding("tab", "pane(1)", "Next panel", key_display="Tab", id="plan.pane",
            tooltip="To the next panel: config, data and model, gate"),
    Binding("shift+tab", "pane(-1)", "Panel before", key_display="⇧Tab", show=False, id="plan.pane_before",
            tooltip="To the panel before"),
    Binding("v", "view", "View", id="plan.view", tooltip="Show data, model or environment"),
    Binding("s", "sign", "Sign", id="plan.sign", tooltip="Sign the marked item, or the first that waits for it"),
    Binding("w", "waive", "Waive", id="plan.waive",
            tooltip="Let the marked item be, or the first that failed (asks for a reason)"),
    Binding("r", "check", "Check", id="plan.check", tooltip="Check again what failed or is open"),
    Binding("y", "yaml", "YAML", id="plan.yaml", tooltip="The config as YAML, to edit; Esc takes it"),
    Binding("t", "template", "Template", id="plan.template",
            tooltip="Begin with the settings of a template, or with the file again"),
    Binding("ctrl+s", "save", "Save", key_display="^s", id="plan.save", tooltip="Save the config"),
]  # fmt: skip

# On lists with a mark: recommendations, items of a gate.
MARK_BINDINGS: list[Binding] = [
    Binding("enter", "pick", "Choose", key_display="Enter", id="mark.pick",
            tooltip="Carry the marked recommendation into the next run; show all that is known of a gate's item"),
    Binding("up", "move(-1)", "Up", key_display="↑", show=False, id="mark.up", tooltip="Mark the one above"),
    Binding("down", "move(1)", "Down", key_display="↓", show=False, id="mark.down", tooltip="Mark the one below"),
]  # fmt: skip

# On the Diagnose screen.
DIAGNOSE_BINDINGS: list[Binding] = [
    Binding("1", "carry(1)", "Carry", key_display="1-5", id="diagnose.carry_1",
            tooltip="Carry the recommendation of that number into the next run's config"),
    Binding("tab,right", "section(1)", "Section", key_display="Tab", id="diagnose.next",
            tooltip="The next section (also →)"),
    Binding("shift+tab,left", "section(-1)", "Section before", key_display="⇧Tab", show=False, id="diagnose.previous",
            tooltip="The section before (also ←)"),
    Binding("i", "show('Issue')", "Issue", show=False, id="diagnose.issue", tooltip="Evidence and causes"),
    Binding("c", "show('Curves')", "Curves", show=False, id="diagnose.curves", tooltip="The learning curves"),
    Binding("f", "show('Fit')", "Fit", show=False, id="diagnose.fit", tooltip="Over- or underfitting"),
    Binding("g", "show('Gradients')", "Gradients", show=False, id="diagnose.gradients",
            tooltip="Gradient health: layers and epochs as a heat map"),
    Binding("m", "show('Machine')", "Machine", show=False, id="diagnose.machine", tooltip="What the machine did"),
    Binding("e", "show('Errors')", "Errors", show=False, id="diagnose.errors",
            tooltip="Errors by class or by target, confusions"),
    Binding("x", "show('Worst')", "Worst", show=False, id="diagnose.worst", tooltip="The samples of the highest loss"),
    Binding("d", "show('Data')", "Data", show=False, id="diagnose.data", tooltip="The data and what is wrong with it"),
    Binding("k", "show('Gate')", "Gate", show=False, id="diagnose.gate", tooltip="The checklist at the end of this phase"),
    Binding("s", "sign", "Sign", id="diagnose.sign", tooltip="On the gate: sign the marked item"),
    Binding("w", "waive", "Waive", id="diagnose.waive", tooltip="On the gate: let the marked item be (asks for a reason)"),
    Binding("pagedown,space", "scroll_section(1)", "Scroll", key_display="PgDn", id="diagnose.page_down",
            tooltip="Scroll the section down (also Space)"),
    Binding("pageup,b", "scroll_section(-1)", "Scroll up", key_display="PgUp", show=False, id="diagnose.page_up",
            tooltip="Scroll the section up (also b)"),
    Binding("r", "again", "Look again", id="diagnose.again", tooltip="Analyse the run once more"),
    Binding("y", "copy_report", "Copy path", id="diagnose.copy", tooltip="Copy the path of the report"),
]  # fmt: skip
# On the gate after a baseline (t takes you there).
GATE_BINDINGS: list[Binding] = [
    Binding("s", "sign", "Sign", id="gate.sign", tooltip="Sign the marked item, or the one that waits for it"),
    Binding("w", "waive", "Waive", id="gate.waive",
            tooltip="Let the marked item be, or the first that failed (asks for a reason)"),
    Binding("r", "again", "Check again", id="gate.again", tooltip="Check again what failed"),
]  # fmt: skip
GATE_KEY = Binding("t", "toggle_gate", "Gate/log", id="view.gate",
                   tooltip="After the run: its gate and the way on, or the log")  # fmt: skip

MORE_CARRY_KEYS = [
    Binding(str(number), f"carry({number})", "Carry", show=False, id=f"diagnose.carry_{number}")
    for number in range(2, 6)
]

ALL_BINDINGS: list[Binding] = [
    *BINDINGS, *CHART_BINDINGS, *RUN_TABLE_BINDINGS, *RUNS_BINDINGS, *COMPARE_BINDINGS[:-1], *MACHINE_BINDINGS,
    *DIAGNOSIS_BINDINGS, *MORE_FIX_KEYS, *PLAN_LIST_BINDINGS, *PLAN_BINDINGS,
    *MARK_BINDINGS, *DIAGNOSE_BINDINGS, *MORE_CARRY_KEYS, *GATE_BINDINGS, GATE_KEY,
]  # fmt: skip
"""What a user may give other keys, by their ids."""
