"""Chat templates: transformers' prompts to the letter, and templates that mean harm."""

from __future__ import annotations

import datetime
import json
from typing import Any

import pytest
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from escalade.edge.chat.template import ChatTemplate
from escalade.edge.errors import ArtifactError, PromptError

# In the manner of published models.
CHATML = """\
{%- if messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- else %}
    {{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}
{%- endif %}
{%- set ns = namespace(last=messages|length - 1, thought=false) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if message.role == "user" and not ns.thought %}
        {%- set ns.last = index %}
        {%- set ns.thought = true %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.role == "system" %}
        {%- continue %}
    {%- endif %}
    {%- if message.role == "assistant" and '</think>' in message.content %}
        {%- set content = message.content.split('</think>')[-1].lstrip('\\n') %}
    {%- else %}
        {%- set content = message.content %}
    {%- endif %}
    {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>\\n' }}
{%- endfor %}
{%- if tools %}{{- tools | tojson }}{%- endif %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>' }}{%- endif %}
{%- endif %}
"""
LLAMA_3 = """\
{{- bos_token }}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if tools is not none %}
    {{- "Environment: ipython\\n" }}
{%- endif %}
{{- "Today Date: " + date_string + "\\n\\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
    {{- message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""
ZEPHYR = """\
{% for message in messages %}
{% if message['role'] == 'user' %}
{{ '<|user|>\\n' + message['content'] + eos_token }}
{% elif message['role'] == 'system' %}
{{ '<|system|>\\n' + message['content'] + eos_token }}
{% elif message['role'] == 'assistant' %}
{{ '<|assistant|>\\n'  + message['content'] + eos_token }}
{% endif %}
{% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
{% endif %}
{% endfor %}
"""
MISTRAL = """\
{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if (message["role"] == "user") != (loop.index0 % 2 == 0) %}
        {{- raise_exception("roles must alternate user/assistant") }}
    {%- endif %}
    {%- if message["role"] == "user" %}
        {%- if loop.last and system_message is defined %}
            {{- "[INST] " + system_message + "\\n\\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + message["content"] + "[/INST]" }}
        {%- endif %}
    {%- else %}
        {% generation %}{{- " " + message["content"] + eos_token }}{% endgeneration %}
    {%- endif %}
{%- endfor %}
"""
EVERYTHING = """\
{%- macro show(message) %}<{{ message.role }}>{{ message | tojson }}{% endmacro %}
{%- set seen = dict(a=1, **{'b': messages|length}) %}
{% for message in messages if message.content %}
    {% if loop.index > 3 %}{% break %}{% endif %}
  {{ show(message) }} {{ message.name | default('nobody') }}
{% endfor %}
{{ seen | tojson(indent=2, sort_keys=true) }} {{ "<&'" | tojson }} {{ pad_token }}
{{ documents is none }} {{ messages[-1].content.upper() | replace('\\n', '/') }}
"""
TEMPLATES = {
    "chatml": CHATML,
    "llama-3": LLAMA_3,
    "zephyr": ZEPHYR,
    "mistral": MISTRAL,
    "everything": EVERYTHING,
}
SYSTEM = {"role": "system", "content": " Answer <b>short</b>. "}
USER = {"role": "user", "content": "What's 'up'?\n  你好 & \U0001f642\t{{ 7 * 7 }}"}
ASSISTANT = {"role": "assistant", "content": "<think>hm</think>\n\nNothing.  "}
CONVERSATIONS = [
    [USER],
    [SYSTEM, USER],
    [USER, ASSISTANT, USER],
    [SYSTEM, USER, ASSISTANT, USER, ASSISTANT],
]
BOS, EOS = "<|begin|>", "</s>"


def in_transformers(template: str, messages: list[dict[str, str]], *, prompt: bool) -> str:
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(
            json.dumps({"version": "1.0", "model": {"type": "BPE", "vocab": {}, "merges": []}})
        ),
        bos_token=BOS,
        eos_token=EOS,
        chat_template=template,
    )
    return str(
        tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=prompt)
    )


def render(template: str, messages: list[dict[str, str]], **options: Any) -> str:
    special_tokens = {"bos_token": BOS, "eos_token": EOS}
    return ChatTemplate(template, "t.jinja").render(
        messages, special_tokens=special_tokens, **options
    )


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("messages", CONVERSATIONS, ids=["1", "system", "3", "system and 4"])
@pytest.mark.parametrize("prompt", [True, False])
def test_prompts_are_those_of_transformers(
    name: str, messages: list[dict[str, str]], prompt: bool
) -> None:
    expected = in_transformers(TEMPLATES[name], messages, prompt=prompt)
    assert render(TEMPLATES[name], messages, add_generation_prompt=prompt) == expected
    assert len(expected) > 20


def test_the_date_is_the_clocks() -> None:
    template = ChatTemplate(LLAMA_3, "t", now=lambda: datetime.datetime(2031, 2, 3))
    text = template.render([USER], special_tokens={"bos_token": BOS})
    assert "Today Date: 03 Feb 2031" in text


HOSTILE = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ messages.__class__.__name__ }}",
    "{{ cycler.__init__.__globals__ }}",
    "{{ raise_exception.__globals__['json'] }}",
    "{{ strftime_now.__code__.co_code }}",
    "{{ ''['__class__'] }}{{ ('' | attr('__class__')).x }}",
    "{{ '{0.__class__.__mro__}'.format('') }}",
    "{% for i in range(10**9) %}{% endfor %}",
    "{{ messages.append(1) }}",
    "{{ messages[0].update(role='system') }}",
    "{{ namespace(__class__=1) }}",
    "{% set ns = namespace() %}{% set ns.__init__ = 1 %}",
    "{{ dict.__class__() }}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}",
    "{{ 1 / 0 }}",
    "{{ nothing.at.all }}",
    "{{ nothing() }}",
    "{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}",
    "{% if %}",
    "{{",
    "{% generation %}",
]


@pytest.mark.parametrize("template", HOSTILE)
def test_a_template_that_means_harm_is_an_error_of_the_artifact(template: str) -> None:
    with pytest.raises(ArtifactError, match=r"^t\.jinja: "):
        render(template, [USER])


def test_a_conversation_that_the_template_refuses_is_the_users_mistake() -> None:
    with pytest.raises(PromptError, match="refuses the conversation: roles must alternate"):
        render(MISTRAL, [USER, USER])


@pytest.mark.parametrize(
    ("messages", "says"),
    [
        ([], "at least 1 message"),
        ([{"role": "user"}], "message 0 of the conversation needs a content, as text"),
        ([USER, {"role": 7, "content": ""}], "message 1 of the conversation needs a role"),
    ],
)
def test_messages_that_are_none_are_refused(messages: list[Any], says: str) -> None:
    with pytest.raises(PromptError, match=says):
        render(ZEPHYR, messages)


@pytest.mark.parametrize("name", TEMPLATES)
def test_long_conversations_are_far_from_what_a_template_may_take(name: str) -> None:
    talk = [{**(USER, ASSISTANT)[n % 2], "content": "word " * 200} for n in range(299)]
    expected = in_transformers(TEMPLATES[name], talk, prompt=True)
    assert render(TEMPLATES[name], talk) == expected
