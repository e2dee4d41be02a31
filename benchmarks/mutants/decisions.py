"""Faults in what the campaign decides, what carries it, and what people see of it."""

from __future__ import annotations

from benchmarks.mutants.mutant import Mutant

__all__ = ["DECISIONS"]

_DECIDE = ("unit/campaign",)
_PAGES = ("unit/report",)

DECISIONS = (
    # --- campaign
    Mutant(
        "what one potential explored counts for every other",
        "campaign/exploring.py",
        "told = state.judged.get((condition.name, name))",
        "told = next((v for k, v in state.judged.items() if k[0] == condition.name), None)",
        ("unit/campaign/test_exploring.py",),
    ),
    Mutant(
        "vanished workers use up the repair ladder",
        "campaign/attempts.py",
        "[f for f in record.failures if f.kind not in (LOST, STOPPED)]",
        "list(record.failures)",
        ("unit/campaign/test_attempts.py",),
    ),
    Mutant(
        "a vanished worker is tried for ever",
        "campaign/attempts.py",
        "for item in earlier) < MAX_LOST",
        "for item in earlier) < 10**9",
        ("unit/campaign/test_attempts.py",),
    ),
    Mutant(
        "repairs cost nothing of the budget",
        "campaign/state.py",
        'self._label_attempts += record.task.kind == "label"',
        'self._label_attempts += record.task.kind == "label" and attempt == 1',
        ("unit/campaign/test_attempts.py",),
    ),
    Mutant(
        "labels of the validation are trained on",
        "campaign/training.py",
        'in state.labels("train") if record.status == "done"]',
        'in state.of_kind("label") if record.status == "done"]',
        _DECIDE,
    ),
    Mutant(
        "the youngest task first",
        "campaign/state.py",
        "bisect.insort(self._queue, (record.task.priority, record.order, name))",
        "bisect.insort(self._queue, (record.task.priority, -record.order, name))",
        ("unit/campaign/test_schedule.py", "unit/campaign/test_decide.py"),
    ),
    Mutant(
        "more tasks than cores",
        "campaign/schedule.py",
        "used + record.task.cores <= cores",
        "used + record.task.cores <= cores + 1",
        ("unit/campaign/test_schedule.py",),
    ),
    Mutant(
        "every visit of MD draws the same velocities",
        "campaign/exploring.py",
        "1000 * (index + 1) + number",
        "1000",
        ("unit/campaign/test_exploring.py",),
    ),
    Mutant(
        "one label more than the limit",
        "campaign/label_only.py",
        "state.dft_calls >= calls",
        "state.dft_calls > calls",
        ("unit/campaign",),
    ),
    Mutant(
        "no room is kept for the validation",
        "campaign/budget.py",
        " - queued - owed(plan, state)",
        " - queued",
        ("unit/campaign/test_budget.py",),
    ),
    Mutant(
        "what a property still has to ask is not kept free",
        "campaign/properties.py",
        "return rest if unknown else coming",
        "return coming",
        _DECIDE,
    ),
    Mutant(
        "labels of one property are those of another",
        "campaign/labels.py",
        "purpose, candidate, of_property)",
        'purpose, candidate, "equation_of_state")',
        ("unit/campaign/test_property_campaign.py",),
    ),
    # --- runtime and base
    Mutant(
        "a file is written in place",
        "base/files.py",
        "os.replace(temporary, path)",
        "path.write_bytes(raw)",
        ("unit/base",),
    ),
    Mutant(
        "a claimed folder may be claimed again",
        "base/files.py",
        "os.O_CREAT | os.O_EXCL | os.O_WRONLY",
        "os.O_CREAT | os.O_WRONLY",
        ("unit/base",),
    ),
    Mutant(
        "the place in the stream forgets what was read before",
        "runtime/streams.py",
        "offset += len(line)",
        "offset = len(line)",
        ("unit/runtime/test_streams.py",),
    ),
    # --- what people see
    Mutant(
        "a cure that worked is counted as one that did not",
        "report/failures.py",
        "worked + int(following.outcome.ok)",
        "worked + int(not following.outcome.ok)",
        _PAGES,
    ),
    Mutant(
        "the table of failures lacks its cures",
        "report/failures.py",
        "if attempt.cure and following is not None",
        "if not attempt.cure and following is not None",
        _PAGES,
    ),
    Mutant(
        "lost core hours are seconds",
        "report/failures.py",
        "core_hours_lost=count.cpu_s / 3600",
        "core_hours_lost=count.cpu_s",
        _PAGES,
    ),
    Mutant(
        "what the user stopped counts as a failure",
        "report/failures.py",
        "attempt.outcome.failure.kind != STOPPED",
        "attempt.outcome.failure.kind != ''",
        ("unit/campaign/test_label_only.py",),
    ),
    Mutant(
        "a target is met where its limit is passed",
        "report/rows.py",
        "None if value is None else value <= limit",
        "None if value is None else value >= limit",
        _PAGES,
    ),
    Mutant(
        "the wait of MD ends with its task, not at the swap",
        "report/timeline.py",
        "case MdSwapped() | MdResumed() if self.waits_since is not None:",
        "case MdBroke() if self.waits_since is not None:",
        _PAGES,
    ),
    Mutant(
        "MD that waits counts as at work",
        "report/timeline.py",
        "for row in rows if row.kind in kinds for span in row.at_work",
        "for row in rows if row.kind in kinds for span in [(row.start, row.end)]",
        _PAGES,
    ),
    Mutant(
        "held-out structures are said to be learned from",
        "report/training_file.py",
        '"test" if item.name in held_out else "train"',
        '"train" if item.name in held_out else "test"',
        _PAGES,
    ),
    Mutant(
        "the buffer of a cutout has full weight",
        "report/training_file.py",
        "else np.zeros(len(atoms))",
        "else np.ones(len(atoms))",
        _PAGES,
    ),
    Mutant(
        "the result is of the fast fit, not of the released kind",
        "campaign/releasing.py",
        "if item.trainer in may_be_released(plan, state)",
        "if item.trainer not in may_be_released(plan, state)",
        ("unit/campaign/test_verdict.py",),
    ),
    Mutant(
        "nothing stands in for a released trainer that fails",
        "campaign/fallback.py",
        "return failed and training.trainer != training.fast_trainer",
        "return False",
        ("unit/campaign/test_fallback.py",),
    ),
    Mutant(
        "a status of version 1 loses its failures",
        "report/values.py",
        'data.get("healing", [])',
        "[]",
        _PAGES,
    ),
    Mutant(
        "a swap leaves MD waiting",
        "campaign/state.py",
        "attempt.potential, attempt.waiting = event.new, False",
        "attempt.potential = event.new",
        ("unit/campaign/test_events.py",),
    ),
    Mutant(
        "progress of the potential before is told of the new one",
        "campaign/state.py",
        "attempt.progress, attempt.waiting = event, event.waiting",
        "attempt.waiting = event.waiting",
        ("unit/campaign/test_events.py", "unit/report/test_status_page.py"),
    ),
)
