"""Chat templates in the forms that published models have, written for these tests."""

TEMPLATES = {
    "chatml": (
        "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + "
        "'\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    ),
    "begin token and trimmed content": (
        "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start|>' + "
        "message['role'] + '<|stop|>\n\n' + message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}"
        "{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}"
    ),
    "turns that must alternate": (
        "{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
        "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}{% else %}"
        "{{ ' ' + message['content'] + ' ' + eos_token }}{% endif %}{% endfor %}"
    ),
    "no system role": (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
        "{% for message in messages %}{{ message.role ~ ': ' ~ message.content }}\n{% endfor %}"
    ),
    "system message in the first turn": (
        "{% if messages[0]['role'] == 'system' %}"
        "{% set system = '<<SYS>>\n' + messages[0]['content'] + '\n<</SYS>>\n\n' %}"
        "{% set rest = messages[1:] %}{% else %}{% set system = '' %}{% set rest = messages %}{% endif %}"
        "{% for message in rest %}{% if loop.first %}{{ system }}{% endif %}{{ message['content'] }}|{% endfor %}"
    ),
    "default system message": (
        "{%- if messages[0].role != 'system' %}\n    {{- '<s>You are helpful.</s>\\n' }}\n{%- endif %}\n"
        "{%- for m in messages %}\n    {{- m.role + ':' + m.content }}\n{%- endfor %}\n"
    ),
    "date of today": (
        "{%- set today = strftime_now('%d %B %Y') -%}Today is {{ today }}.\n{% for m in messages %}"
        "{{ m.content }}{% endfor %}"
    ),
    "date only where there is a clock": (
        "{% if strftime_now is defined %}{% set d = strftime_now('%d %b %Y') %}{% else %}"
        "{% set d = '26 Jul 2024' %}{% endif %}"
        "{{ d }}: {{ messages[-1].content }}"
    ),
    "thinking switched off": (
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
        "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}"
        "{%- if enable_thinking is defined and enable_thinking is false %}"
        "{{- '<think>\n\n</think>\n\n' }}{%- endif %}{%- endif %}"
    ),
    "thinking taken out of earlier turns": (
        "{% for m in messages %}{% set content = m.content %}{% if '</think>' in content %}"
        "{% set content = content.split('</think>')[-1].lstrip('\n') %}{% endif %}{{ m.role }}="
        "{{ content }};{% endfor %}"
    ),
    "generation blocks": (
        "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}"
        "{{ m.content + eos_token }}{% endgeneration %}"
        "{% else %}{{ '>' + m.content }}{% endif %}{% endfor %}"
    ),
    "what is set in a generation block stays there": (
        "{% set x = 'outside' %}{% generation %}{% set x = 'inside' %}{{ x }}{% endgeneration %}{{ x }}"
    ),
    "break and continue": (
        "{% for m in messages %}{% if m.role == 'system' %}{% continue %}{% endif %}{{ m.content }}"
        "{% if loop.index > 2 %}{% break %}{% endif %}{% endfor %}"
    ),
    "namespace": (
        "{%- set ns = namespace(found=false, last=-1) -%}{%- for m in messages -%}{%- if m.role == 'user' -%}"
        "{%- set ns.found = true -%}{%- set ns.last = loop.index0 -%}{%- endif -%}{%- endfor -%}"
        "{{ ns.found }} {{ ns.last }}"
    ),
    "tojson without escapes": "{% for m in messages %}{{ m | tojson }}\n{% endfor %}",
    "tojson with an indent": "{{ messages | tojson(indent=4) }}",
    "tojson sorted and close": "{{ messages[0] | tojson(separators=(',', ':'), sort_keys=True) }}",
    "tojson in ASCII": "{{ messages[-1].content | tojson(ensure_ascii=True) }}",
    "tools are none": (
        "{% if tools is not none %}tools{% endif %}{% if not tools %}no tools {% endif %}{{ tools is defined }}"
    ),
    "documents are none": "{% if documents %}documents{% else %}{{ documents is none }}{% endif %}",
    "custom tools undefined": (
        "{% if custom_tools is defined %}{{ custom_tools }}{% else %}undefined{% endif %}{{ nothing }}"
    ),
    "all the special tokens": "{{ bos_token }}|{{ eos_token }}|{{ unk_token }}|{{ pad_token }}|{{ sep_token }}",
    "trimmed blocks": "{% for m in messages %}\n    {% if true %}\n  {{ m.content }}\n    {% endif %}\n{% endfor %}\n",
    "macro": (
        "{%- macro turn(role, text) -%}<{{ role }}>{{ text | trim }}</{{ role }}>{%- endmacro -%}"
        "{%- for m in messages -%}{{ turn(m['role'], m['content']) }}{%- endfor -%}"
    ),
    "selections and maps": (
        "{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | join(' / ') }} "
        "{{ messages | rejectattr('role', 'equalto', 'user') | list | length }}"
    ),
    "string methods": (
        "{{ messages[0].role.upper() }}{{ messages[0].content.replace('a', 'b').strip().startswith('x') }}"
        "{{ messages[0].role | capitalize }}{{ '%s!' | format(messages[0].role) }}"
    ),
    "content that may be parts": (
        "{% for m in messages %}{% if m.content is string %}{{ m.content }}{% else %}{% for part in m.content %}"
        "{{ part.text }}{% endfor %}{% endif %}{% endfor %}"
    ),
    "tests of types": (
        "{{ messages is sequence }}{{ messages[0] is mapping }}{{ messages[0].content is iterable }}{{ 1 is number }}"
        "{{ true is boolean }}"
    ),
    "a dictionary made": (
        "{% set names = dict(user='U', assistant='A') %}{% for m in messages %}{{ names.get(m.role, '?') }}{% endfor %}"
    ),
    "loop variables": (
        "{% for m in messages %}{{ loop.index }}/{{ loop.length }}{{ ',' if not loop.last else '.' }}"
        "{{ loop.previtem.role if loop.previtem is defined else '-' }}{% endfor %}"
    ),
    "filters in blocks": (
        "{% filter upper %}{% for m in messages %}{{ m.role }}{% endfor %}{% endfilter %}{% raw %}{{ x }}{% endraw %}"
    ),
    "calls": "{% call(x) f() %}{{ x }}{% endcall %}",
    "a missing message": "{{ messages[99]['content'] }}",
    "private namespace": "{% set ns = namespace(_x=1) %}{{ ns._x }}",
}
