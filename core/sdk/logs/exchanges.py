"""What HTTP clients print around an answer: curl's trace, headers and meter, HTTPie's request, the shell's command.

::

    $ curl -v http://localhost:8080/v1/completions -d '{"prompt": "a"}'
    * Connected to localhost (127.0.0.1) port 8080
    > POST /v1/completions HTTP/1.1
    < HTTP/1.1 200 OK
    <
    {"choices": [...], "timings": {...}}* Connection #0 to host localhost left intact

Every line keeps its number, so that errors name the line of the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .printed import unpainted

_HINTS = ("HTTP/", "% Total", "curl", "Connection #", "```", "http ")
_PROMPT = r"[^\s{\"$#%>]{0,80}(?: [^\s{\"$#%>]{1,80})? ?[$#%>]{1,2} ?"  # of shells: me@host:~$, [me@host ~]$, PS C:\x>
_COMMAND = re.compile(rf"(?:{_PROMPT})?(?:time |sudo )?(?:curl(?:\.exe)?|https?|xh) ")
_SIGN = re.compile(
    r"^(?:(?:[<>] )?(?:HTTP/\d|[A-Z]{3,7} /\S{0,500} HTTP/\d)|"
    r"\* {1,3}(?:Trying|Connected|Host|Connection) |```|curl: \(|"
    rf" {{0,2}}% Total |{_COMMAND.pattern})|\* Connection #",
    re.MULTILINE,
)
_JSON = ("{", "[", "data:")
_CONTINUED = ("\\", "`", "^", "|")
_BODY = re.compile(r"\{\"|\{\s*$|\[\s*(?:\{|$)|data:|(?:< )?HTTP/|[<>*] ")
_TRACE = re.compile(r"[<>*](?: |$)|[{}] \[\d{1,12} bytes data\]|curl: \(|```| {1,40}Dload | {0,2}% Total ")
_START = re.compile(r"(?:HTTP/\d(?:\.\d)? \d{3}|[A-Z]{3,7} /\S{0,500} HTTP/\d)(?:[ .]|$)")
_HEADER = re.compile(r"[A-Za-z][\w-]{0,60}:(?: |$)")
# Drawn over itself: percentages, sizes, times such as 0:00:01 or --:--:--, and the speed.
_METER = re.compile(
    r"\r? {0,3}\d{1,3}(?: {1,10}[\d.]{1,9}[kMG]?){7} {1,10}(?:[-\d]{1,3}:[-\d]{2}:[-\d]{2} {1,10}){3}[\d.]{1,9}[kMG]?"
)
_BEHIND = re.compile(r"(?<=[}\]])\s{0,3}(?:\* (?:Connection #|Closing connection)|HTTP/\d(?:\.\d)? \d{3}).{0,300}$")
_PAINT = re.compile(r"[\x1b\x9b␛\r]|\^\[|\[[0-9;]{1,16}m")
_STATUS = re.compile(r"^(?:< )?HTTP/\d(?:\.\d)? (\d{3})", re.MULTILINE)
_COMPLETION = re.compile(r'"object"\s*:\s*"(?:text_completion|chat\.completion(?:\.chunk)?)"')
_UNANSWERED = re.compile(r"^curl: \(\d", re.MULTILINE)


def bodies_of(text: str) -> str:
    """Return a text without what clients print around the bodies in it; as it is where there is no sign of a client."""
    return "\n".join(_bodies(text.split("\n"))) if has_client(text) else text


def has_client(text: str) -> bool:
    """Say whether a text has an exchange as a client prints it."""
    return any(hint in text for hint in _HINTS) and _SIGN.search(text) is not None


def why_unmeasured(text: str) -> str:
    """Return why answers of a server that are in a text measure nothing; empty where there are none."""
    statuses = [found for found in _STATUS.findall(text) if found != "100"]
    if statuses and all(status >= "400" for status in statuses):
        return f"the server refused with HTTP {statuses[0]}"
    if _COMPLETION.search(text):
        return 'answers of a server without its times or usage; streams have it with "include_usage"'
    return "curl got no answer" if _UNANSWERED.search(text) else ""


def _bodies(lines: list[str]) -> Iterator[str]:
    is_head = is_quoted = is_continued = False
    for raw in lines:
        if not raw.strip(" "):
            is_head, is_continued = is_head and (is_quoted or is_continued), False
            yield ""
            continue
        line = raw if raw.startswith(_JSON) else _METER.sub("", raw)
        line = (unpainted(line) if _PAINT.search(line) else line).strip("\r")
        is_quoted = is_quoted and not _BODY.match(line)
        is_json = line.startswith(('{"', "{}")) and not (is_quoted or is_continued)  # neither a command nor a header
        if not is_json and (is_quoted or is_continued or _COMMAND.match(line)):
            is_quoted ^= line.count("'") % 2 == 1
            is_continued = line.rstrip().endswith(_CONTINUED)
            line = ""
        elif not is_json and (_START.match(line) or (is_head and _HEADER.match(line))):
            is_head, line = True, ""
        elif not is_json and _TRACE.match(line):
            line = ""
        else:
            is_head = False
            is_followed = "* C" in line or "HTTP/" in line
            if is_followed and (behind := _BEHIND.search(line, max(0, len(line) - 320))):
                is_head, line = "HTTP/" in behind[0], line[: behind.start()]
        yield line
