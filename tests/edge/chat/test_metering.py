"""Templates that take for ever, or all memory: each ends in one line, and soon."""

from __future__ import annotations

import pytest

from escalade.edge.chat import metering
from escalade.edge.chat.template import ChatTemplate
from escalade.edge.errors import ArtifactError, PromptError

USER = {"role": "user", "content": "Hi"}


def looped(body: str, start: str = "[1]", times: int = 60) -> str:
    return (
        f"{{% set ns = namespace(x={start}) %}}{{% for i in range({times}) %}}{body}{{% endfor %}}"
    )


DOUBLED = looped("{% set ns.x = [ns.x, ns.x] %}")
NESTED = "".join(f"{{% for a{n} in [1] %}}" for n in range(25)) + "{% endfor %}" * 25
BIG = "{% set big = 'a' * 400000 %}{% for i in range(100000) %}"

NO_TEMPLATE = [
    NESTED,
    "{% if 1 %}" * 150 + "{% endif %}" * 150,
    "{{ " + "(" * 300 + "1" + ")" * 300 + " }}",
    "{{ 1" + "+1" * 9000 + " }}",
    "{{ " + "[" * 5000 + "]" * 5000 + " }}",
    "{{ a }}" * 20000,
    "{{ [1, 2]|random }}",
    "{{ 'a'|urlize }}",
]
TOO_MUCH = [
    # steps
    "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(90) }}",
    "{% for x in range(99999) recursive %}{{ loop(range(99999)) }}{% endfor %}",
    "{{ range(99999)|map('string')|map('center', 99999)|join }}",
    BIG + "{% set y = big[1:] %}{% endfor %}",
    BIG + "{% if big == 'b' ~ big %}{% endif %}{% endfor %}",
    BIG + "{% if 'b' in big %}{% endif %}{% endfor %}",
    BIG + "{% if big is in(big) %}{% endif %}{% endfor %}",
    BIG + "{% if big.count('b') %}{% endif %}{% endfor %}",
    # texts and lists
    "{{ 'a' * 10 ** 9 }}",
    "{{ [range(99999)|list] * 1000 * 1000 }}",
    looped("{% set ns.x = ns.x ~ ns.x %}", "'a'"),
    looped("{% set ns.x = ns.x + ns.x %}", "'a'"),
    looped("{% set ns.x = ns.x + ns.x %}"),
    "{{ ('a' * 99999)|list|map('upper')|join * 1000 }}",
    "{% set big = 'a' * 400000 %}{{ ([big] * 99999)|select('string')|join|length }}",
    "{{ ''.join(['a' * 99999] * 99999) }}",
    "{{ ('a' * 99999).replace('a', 'b' * 99999) }}",
    "{{ ('a' * 99999)|replace('', 'b' * 99999) }}",
    "{{ ('\\n' * 99999)|indent(99999) }}",
    "{{ ('\\n' * 99999)|indent('x' * 99999) }}",
    "{{ ('\\t' * 99999).expandtabs(90000) }}",
    "{{ range(99999)|list|tojson(indent=99999) }}",
    "{{ ('a,' * 9999999).split(',') }}",
    "{% for i in range(99999) %}" + "y" * 200000 + "{% endfor %}",
    "{% set x %}{% for i in range(99999) %}{{ 'a' * 9999 }}{% endfor %}{% endset %}",
    # one list that is many when it is written, compared or hashed
    DOUBLED + "{{ ns.x }}",
    DOUBLED + "{{ ns.x ~ '' }}",
    DOUBLED + "{{ ns.x|string|length }}",
    DOUBLED + "{{ ns.x|tojson }}",
    DOUBLED + "{{ '%s' % ns.x }}",
    DOUBLED + "{{ '{}'.format(ns.x) }}",
    DOUBLED + "{{ raise_exception(ns.x) }}",
    DOUBLED + "{{ ns.x == ns.x|list }}",
    looped("{% set ns.x = (ns.x, ns.x) %}", "(1, 2)") + "{% set y = {ns.x: 1} %}",
    # widths and powers
    "{{ 'a'|center(999999999) }}",
    "{{ 'a'.ljust(999999999) }}",
    "{{ '7'.zfill(999999999) }}",
    "{{ '%999999999d' % 1 }}",
    "{{ '%*d' % (999999999, 1) }}",
    "{{ '%999999999d'|format(1) }}",
    "{{ '{:999999999}'.format(1) }}",
    "{{ '{0:{1}}'.format('x', '999999999') }}",
    "{{ [1]|batch(999999999, 'x')|list }}",
    "{{ [1]|slice(999999999, 'x')|list }}",
    "{{ (5).to_bytes(999999999, 'big') }}",
    "{{ 2 ** 999999999 }}",
    looped("{% set ns.x = ns.x * ns.x %}", "3"),
    "{{ ([range(999)|list] * 999)|sum(start=[])|length }}",
    "{{ ('a' * 99999).translate({97: 'b' * 9999}) }}",
]


@pytest.mark.parametrize("source", NO_TEMPLATE, ids=lambda source: source[:30])
def test_what_python_or_a_device_cannot_take_is_no_template(source: str) -> None:
    with pytest.raises(ArtifactError, match=r"^t\.jinja: not a Jinja template: ") as refused:
        ChatTemplate(source, "t.jinja")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("source", TOO_MUCH, ids=lambda source: source[-50:])
def test_a_template_that_takes_too_much_is_stopped(
    source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Where the bound lies changes nothing of where it holds, and a second for each is too long.
    monkeypatch.setattr(metering, "BUDGET", 1 << 20)
    template = ChatTemplate(source, "t.jinja")
    with pytest.raises(ArtifactError, match=r"^t\.jinja: .*(at most|must|is not)") as refused:
        template.render([USER], special_tokens={})
    assert "\n" not in str(refused.value)


def test_what_was_spent_on_one_prompt_is_there_for_the_next() -> None:
    template = ChatTemplate("{% for i in range(60000) %}x{% endfor %}", "t.jinja")
    for _ in range(20):
        assert len(template.render([USER], special_tokens={})) == 60000


def test_a_refusal_is_short_however_much_a_template_says() -> None:
    template = ChatTemplate("{{ raise_exception('no' * 100000) }}", "t.jinja")
    with pytest.raises(PromptError) as refused:
        template.render([USER], special_tokens={})
    assert len(str(refused.value)) < 400


def test_a_namespace_shows_none_of_what_it_holds() -> None:
    template = ChatTemplate("{% set ns = namespace(x='a') %}{% set ns.y = ns %}{{ ns }}", "t")
    assert template.render([USER], special_tokens={}) == "<Namespace>"
