"""What a cascade's policy says, in lines for people; judges nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from escalade.edge.policy import PolicyTable


def policy_lines(policy: PolicyTable, currency: str) -> list[str]:
    """What may leave, in the file's own words; a rule that keeps nothing is left out."""
    said = {"allow": "what is due is sent", "ask": "the user is asked first"}
    lines = [f"send {policy.send}: {said.get(policy.send, 'nothing is sent')}"]
    if policy.stay_tasks:
        lines.append(f"stays: of the tasks {', '.join(policy.stay_tasks)}")
    lines += [f"stays: what matches {one}" for one in policy.stay_patterns]
    lines += [f"hidden: what matches {one}" for one in policy.redact]
    if policy.unmetered_only:
        lines.append("only over an unmetered link")
    if policy.min_battery is not None:
        lines.append(f"not below {policy.min_battery * 100:g}% of the battery, unless it charges")
    if policy.stay_tasks or policy.unmetered_only or policy.min_battery is not None:
        what = "stays" if policy.when_unknown == "stay" else "is sent"
        lines.append(f"where a task, link or battery is not known it {what}")
    units = {"money": currency}
    daily = {name: getattr(policy.daily, name) for name in policy.daily.__struct_fields__}
    spent = [
        f"{most:,} {units.get(name, name)}" for name, most in daily.items() if most is not None
    ]
    if spent:
        where = "" if policy.budget_file is None else f", counted in {policy.budget_file}"
        lines.append(f"a day: at most {', '.join(spent)}{where}")
    return lines
