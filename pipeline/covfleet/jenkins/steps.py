"""Find the steps that a Jenkinsfile calls, from Groovy's tokens, without running or compiling it.

A step is a name that is called (``sh 'make'``, ``retry(2) { … }``, ``checkout scm``) and that is neither a
method (``env.getProperty(…)``), nor declared in the file, nor a keyword of Groovy or of the declarative
syntax. Steps named only by a string (``step([$class: …])``) aren't found.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterator
from dataclasses import dataclass

from pygments.lexers.jvm import GroovyLexer
from pygments.token import Comment, Keyword, Literal, Name, _TokenType, is_token_subtype

_DECLARATIVE = frozenset(
    (
        *("environment", "options", "parameters", "post", "stages", "stage", "steps", "tools"),
        *("triggers", "when", "matrix", "axes", "axis", "excludes", "exclude", "libraries", "input"),
        *("any", "none", "label", "docker", "dockerfile", "kubernetes", "customWorkspace", "image", "args"),
        *("additionalBuildArgs", "reuseNode", "filename", "registryUrl", "registryCredentialsId"),
        *("always", "changed", "fixed", "regression", "aborted", "failure", "success", "unsuccessful"),
        *("cleanup", "notBuilt", "allOf", "anyOf", "not", "branch", "buildingTag", "changelog", "changeset"),
        *("changeRequest", "equals", "expression", "tag", "triggeredBy", "beforeAgent", "beforeInput"),
        *("beforeOptions", "name", "value", "values", "notValues", "lib", "message", "ok", "submitter"),
        *("id", "failFast", "credentials"),
    )
)
"""Sections, directives and their contents: these are never steps."""

_OF_JENKINS = frozenset(
    (
        *("booleanParam", "choice", "password", "string", "text", "file"),  # parameters, credentials
        *("usernamePassword", "usernameColonPassword", "sshUserPrivateKey", "certificate", "zip"),
        *("buildDiscarder", "logRotator", "disableConcurrentBuilds", "disableResume", "newContainerPerStage"),
        *("overrideIndexTriggers", "parallelsAlwaysFailFast", "preserveStashes", "quietPeriod"),
        *("skipDefaultCheckout", "skipStagesAfterUnstable", "checkoutToSubdirectory", "durabilityHint"),
        *("cron", "pollSCM", "upstream", "println", "print", "library"),
    )
)
"""Options, parameters, triggers and functions that need no plugins other than those of pipelines."""

_OPENS = {"(", "{"}
_ALSO_SECTIONS = {"agent", "unstable"}  # sections without "("; with it, a condition of retry and a step
_NO_CALL = (Name.Attribute, Name.Label, Name.Decorator)
_NO_CALL_BEHIND = {".", "new", "import", "package"}


@dataclass(frozen=True, slots=True)
class StepCall:
    """A step that a Jenkinsfile calls, and the place of its first call; line and column count from 1."""

    step: str
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class _Token:
    at: int
    kind: _TokenType
    text: str

    def is_a(self, *kinds: _TokenType) -> bool:
        return any(is_token_subtype(self.kind, kind) for kind in kinds)


def calls(jenkinsfile: str) -> tuple[StepCall, ...]:
    """Return the steps that a Jenkinsfile calls, each once, in the order of their first calls."""
    tokens = list(_tokens(jenkinsfile))
    known = {*_declared(tokens), *_DECLARATIVE, *_OF_JENKINS}
    starts = [0, *(at + 1 for at, char in enumerate(jenkinsfile) if char == "\n")]
    found: dict[str, StepCall] = {}
    for number, token in enumerate(tokens):
        if token.text in known or not _is_call(tokens, number, jenkinsfile):
            continue
        line = bisect(starts, token.at)
        found.setdefault(token.text, StepCall(token.text, line, token.at - starts[line - 1] + 1))
    return tuple(found.values())


def _tokens(text: str) -> Iterator[_Token]:
    """Yield the tokens except whitespace and comments."""
    for at, kind, value in GroovyLexer().get_tokens_unprocessed(text):
        if value.strip() and not is_token_subtype(kind, Comment):
            yield _Token(at, kind, value)


def _is_call(tokens: list[_Token], number: int, text: str) -> bool:
    token = tokens[number]
    named = token.text[0].islower() and token.is_a(Name) and not token.is_a(*_NO_CALL)
    before = tokens[number - 1].text if number else ""
    if not named or before in _NO_CALL_BEHIND or number + 1 == len(tokens):
        return False
    after = tokens[number + 1]
    end = token.at + len(token.text)
    in_string = (
        text[token.at - 1 : token.at] == '"' or text[end : end + 1] == '"'
    )  # the lexer splits "…${…}…" wrongly
    if in_string or (token.text in _ALSO_SECTIONS and after.text != "("):
        return False
    if after.text in _OPENS:
        return True
    begins = before in {"", "{", "}", ";", ">"} or _begins_line(token, text)
    return "\n" not in text[end : after.at] and _is_argument(after, begins=begins)


def _is_argument(token: _Token, *, begins: bool) -> bool:
    """Return whether a token can start the argument of a call without parentheses: ``sh 'make'``."""
    return token.is_a(Literal, Name.Label) or (begins and (token.is_a(Name) or token.text == "["))


def _begins_line(token: _Token, text: str) -> bool:
    return not text[text.rfind("\n", 0, token.at) + 1 : token.at].strip()


def _declared(tokens: list[_Token]) -> Iterator[str]:
    """Yield the names that the file itself declares: variables, methods, parameters of closures."""
    for number, token in enumerate(tokens):
        if not token.is_a(Name):
            continue
        before = tokens[number - 1] if number else None
        after = tokens[number + 1].text if number + 1 < len(tokens) else ""
        typed = before is not None and (
            before.is_a(Keyword.Type, Keyword.Declaration)
            or (before.kind is Name and before.text[0].isupper())
        )
        assigned = after == "=" and number + 2 < len(tokens) and tokens[number + 2].text != "="
        if typed or assigned or after == "-":
            yield token.text
