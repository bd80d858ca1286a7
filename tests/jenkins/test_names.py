"""Names and texts from outside: what is refused, and that the rest comes back from each language as it is."""

from __future__ import annotations

import json
import subprocess
import xml.etree.ElementTree as ET

import pytest
import yaml
from covfleet.jenkins.quoting import casc_block, casc_text, groovy, jjb_text, shell, yaml_text
from covfleet.settings import names
from hypothesis import given
from hypothesis import strategies as st
from support.jenkinsfiles import groovy_environment

HOSTILE = (
    "it's",
    'say "x"',
    "${jenkins.model.Jenkins.instance.doSafeExit()}",
    "$HOME and ${HOME} and $(id) and `id`",
    r"\u0027 + evil() + \u0027",
    r"\\u0027",
    r"\\\u0027",
    "ends in a backslash\\",
    "\\",
    "'''",
    '"""',
    "two\nlines",
    "carriage\rreturn, tab\t, bell\a, form\f, delete\x7f",
    "*/ // # comment",
    "-rf",
    "--upload-pack=id",
    "<b>&amp;</b><![CDATA[x]]>",
    "]]>",
    "a: b # c",
    "- x",
    "{obj:x} {{y}} {{{z}}} {",
    "!!python/object/apply:os.system [id]",
    "*alias &anchor",
    "!include: /etc/passwd",
    "^${X}",
    "; rm -rf /tmp/x; echo",
    "ünïcödé, 日本, 😀, \u2028, \ufeff, \x85",
    " blanks ",
    "",
    "%41 ../..",
)

REFUSED = {
    names.label: ("", "a b", "a&&b", "!a", "it's", "${X}", r"\u0027", "a\n", "-a", "<a>", "x" * 101),
    names.credentials_id: ("a b", "it's", "${X}", r"\u0027", "a\n", "-a", "a/b", '"'),
    names.job_name: ("", "a b", "a/b", "..", "a..b", "it's", "${X}", r"a\u0027", "a\n", "-a", "<a>", "a:b"),
    names.folder_name: (
        "/",
        "a//b",
        "a/../b",
        "a/",
        " a",
        "a*b",
        "$x",
        r"a\u0027",
        "a\nb",
        "<a>",
        "a;b",
        "a.",
    ),
    names.branch_name: (
        *(
            "",
            "-b",
            "a..b",
            "a b",
            "a~b",
            "a^b",
            "a:b",
            "a?b",
            "a*b",
            "a[b",
            "a\\b",
            "/a",
            "a/",
            "a//b",
            ".a",
        ),
        *("a/.b", "a.lock", "a.lock/b", "a.", "@", "a@{b", "a\nb", "a\x7fb", "${X}", r"a\u0027"),
    ),
    names.repository_url: (
        *(
            "-uid",
            "--upload-pack=id",
            "ext::sh -c id",
            "ext::sh%20-c%20id",
            "https://user:word@example.org/x.git",
        ),
        *("https://token@example.org/x.git", "javascript://x", "file", "https://", "https://e.org/${X}"),
        *("https://e.org/'x'", 'https://e.org/"', "https://e.org/x y", "https://e.org/x\n", "a\\b", "<x>"),
    ),
    names.web_url: (
        *("jenkins.example.org", "ftp://e.org", "https://u:p@e.org", "https://u@e.org", "https://e.org/?x=1"),
        *("https://e.org/#x", "https://e.org/a b", "https://e.org/\n", "https://"),
    ),
    names.inner_path: (
        "",
        "/a",
        "a/../b",
        "..",
        ".",
        "a//b",
        "a/",
        "-a",
        "a/-b",
        "a'b",
        "a\nb",
        "${X}",
        "a\\b",
    ),
    names.command_line: ("", "  ", "a\nb", "a 'b", "# only a comment\n"),
    names.plugin_version: ("", "latest", "v1", "1 2", "1\n", "1'"),
}

ACCEPTED = {
    names.label: ("linux", "covfleet-shard", "a.b_c-1"),
    names.credentials_id: ("", "aws-keys", "0b1c2d3e-aaaa"),
    names.job_name: ("covfleet", "app.coverage_2"),
    names.folder_name: ("", "team", "team/Größe & Zahl".replace(" & ", " und "), "a b/c"),
    names.branch_name: ("main", "feature/x", "release-1.2", "user's/branch", "a#b", "größe", "a;b", "<b>"),
    names.repository_url: (
        *("", "https://example.org/x.git", "ssh://git@example.org:2222/x.git", "git@example.org:team/x.git"),
        *("/srv/git/x.git", "file:///srv/git/x.git", "git://example.org/x"),
    ),
    names.web_url: ("", "https://jenkins.example.org/", "http://127.0.0.1:8080/jenkins"),
    names.inner_path: ("jenkins", "ci/jenkins", ".ci/generated files"),
    names.command_line: ("covfleet", "python3 -m covfleet", "'/opt/my tools/covfleet' -v"),
    names.plugin_version: ("2.0.6", "1885.v730b_5c25b_da_e"),
}


@pytest.mark.parametrize(
    ("check", "name"), [(check, name) for check, cases in REFUSED.items() for name in cases]
)
def test_a_name_that_jenkins_git_or_a_shell_would_read_otherwise_is_refused(check, name: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        check(name)


@pytest.mark.parametrize(
    ("check", "name"), [(check, name) for check, cases in ACCEPTED.items() for name in cases]
)
def test_a_usual_name_passes_as_it_is(check, name: str) -> None:
    assert check(name) == name


def test_branches_are_judged_as_git_does() -> None:
    """Only names with ``$``, which Jenkins expands, are refused beyond git's own rules."""
    judged = {*REFUSED[names.branch_name], *ACCEPTED[names.branch_name]} - {"@"}  # which git takes for HEAD
    for name in sorted(judged):
        git = subprocess.run(
            ["git", "check-ref-format", "--branch", name], capture_output=True, check=False, timeout=20
        )
        try:
            ours = bool(names.branch_name(name))
        except ValueError:
            ours = "$" in name
        assert ours == (git.returncode == 0), name


def test_hostile_texts_come_back_from_groovy() -> None:
    """Evaluated by the real thing: a literal that ends early would fail, or say something else."""
    texts = [*HOSTILE, "".join(HOSTILE)]
    literals = ",\n".join(groovy(text) for text in texts)
    ran = subprocess.run(
        ["groovy", "-e", f"print groovy.json.JsonOutput.toJson([{literals}])"],
        env=groovy_environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == texts


@given(st.text())
def test_a_groovy_literal_holds_nothing_that_could_end_it(text: str) -> None:
    literal = groovy(text)
    assert literal.isascii()
    assert literal.isprintable()
    inside = literal[1:-1].replace("\\\\", "").replace("\\'", "")
    assert "'" not in inside
    for at in range(len(literal)):
        if literal.startswith("\\u", at):  # Groovy reads it wherever it stands
            assert int(literal[at + 2 : at + 6], 16) not in {ord("'"), ord("\\"), ord("\n"), ord("\r")}


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_come_back_from_yaml(text: str) -> None:
    written = yaml_text(text)
    assert written.isascii()
    assert "\n" not in written
    assert yaml.safe_load(written) == text
    assert yaml.safe_load(f"a: {{b: {written}, c: [{written}]}}") == {"a": {"b": text, "c": [text]}}


@pytest.mark.parametrize("text", [text for text in HOSTILE if "\0" not in text])
def test_hostile_texts_come_back_from_a_shell(text: str) -> None:
    ran = subprocess.run(
        ["sh", "-c", f"printf %s {shell(text)}"], capture_output=True, timeout=20, check=True
    )
    assert ran.stdout == text.encode()


def test_several_words_stay_several_words() -> None:
    ran = subprocess.run(
        ["sh", "-c", f"printf '%s|' {shell(HOSTILE)}"], capture_output=True, timeout=20, check=True
    )
    assert ran.stdout.decode().split("|")[:-1] == list(HOSTILE)


def test_a_nul_is_no_word_of_a_shell() -> None:
    with pytest.raises(ValueError, match="NUL"):
        shell("a\0b")


@pytest.mark.parametrize("text", HOSTILE)
def test_configuration_as_code_expands_nothing_of_a_hostile_text(text: str) -> None:
    """It replaces ``${…}``, unless a ``^`` stands in front: that it takes away."""
    read = yaml.safe_load(casc_text(text))
    assert read.count("${") == read.count("^${")
    assert read.replace("^${", "${") == text


def test_a_block_of_text_for_configuration_as_code_reads_back() -> None:
    text = "#!/bin/sh\nset -eu\n\n  echo \"${1:-x}\" $HOME '#' : \\\n# end\n"
    written = casc_block(text, 4)
    assert "\n    set -eu\n\n" in written
    assert yaml.safe_load(f"a:\n  b: {written}\n")["a"]["b"].replace("^${", "${") == text


@pytest.mark.parametrize("text", ["", " x", "a\tb\a", "a\r\nb", "\nx"])
def test_what_a_block_would_change_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="unprintable"):
        casc_block(text, 2)


@pytest.mark.parametrize(
    "text", [text for text in HOSTILE if not set(text) & set("\a\f\b\x85\u2028\ufeff\r")]
)
def test_hostile_texts_come_back_from_the_xml_that_job_builder_makes(text: str) -> None:
    from covfleet.jenkins.jobs import to_xml

    made = to_xml(
        f"- job:\n    name: x\n    description: {jjb_text(text)}\n"
        f"    builders:\n      - shell: {{command: {jjb_text(text)}, unstable-return: 3}}\n"
    )
    root = ET.fromstring(made.jobs["x"])
    assert root.findtext("description") == text or (text == "" and not root.findtext("description"))
    assert (root.findtext("builders/hudson.tasks.Shell/command") or "") == text
