"""The XML of jobs, folders and views in forms that can be compared, hashed and shown.

A controller doesn't keep what it is given: it writes its objects anew whenever it is asked, with plugin
versions, defaults and order of its own, and drops what it doesn't know (``AbstractItem.writeConfigDotXml``
in Jenkins' source). So what was sent is never compared with what is there now; hashes of both are.
"""

from __future__ import annotations

import copy
import difflib
import hashlib
import re
import xml.etree.ElementTree as ET

from covfleet.errors import JenkinsError

Element = ET.Element

_HEADER = re.compile(r"^\s*<\?xml[^>]*\?>\s*")
_SECRET = re.compile(r"token|password|passphrase|secret", re.IGNORECASE)
_PIPELINE = "flow-definition"
_ORDERED = frozenset({"builders", "publishers", "buildWrappers", "parameterDefinitions", "phaseJobs"})


def parse(xml: str, name: str) -> Element:
    """Parse what a controller or a template gave as the config.xml of ``name``.

    Jenkins declares XML 1.1, which Python's parser refuses; nothing that it writes needs 1.1.

    Raises:
        JenkinsError: it is no XML, or declares entities, which Jenkins never does.
    """
    if "<!DOCTYPE" in xml or "<!ENTITY" in xml:
        raise JenkinsError(f"the config.xml of {name} declares a document type: Jenkins never writes that")
    try:
        return ET.fromstring(_HEADER.sub("", xml))  # noqa: S314 - no entities: see above
    except ET.ParseError as error:
        raise JenkinsError(
            f"the config.xml of {name} is no XML: {error}", hint="Look at the job in Jenkins, or delete it."
        ) from error


def description(root: Element) -> str:
    """Return the description of a job, folder or view; empty without one."""
    return (root.findtext("description") or "").strip()


def with_description(root: Element, text: str) -> Element:
    """Return a copy with another description."""
    changed = copy.deepcopy(root)
    element = changed.find("description")
    if element is None:
        element = ET.Element("description")
        changed.insert(0, element)
    element.text = text
    return changed


def text_of(root: Element) -> str:
    """Return the XML as it is sent to a controller."""
    return f"<?xml version='1.0' encoding='UTF-8'?>\n{ET.tostring(root, encoding='unicode')}\n"


def content_hash(root: Element) -> str:
    """Return 12 hex digits over everything but versions of plugins and blanks between elements."""
    return hashlib.sha256(ET.tostring(_plain(root))).hexdigest()[:12]


def state_hash(root: Element) -> str:
    """Return 12 hex digits over what one is on a controller; what covfleet and builds change doesn't count.

    That is the description, with the mark in it; and a run of a declarative pipeline keeps its books in the
    job, and rewrites the job's properties (parameters and options) from its Jenkinsfile.
    """
    plain = _plain(root)
    properties = ("properties",) if root.tag == _PIPELINE else ()
    for tag in ("description", "actions", *properties):
        _remove(plain, tag)
    return content_hash(plain)


def parameters(root: Element) -> frozenset[str]:
    """Return the names of the parameters that a job declares."""
    return frozenset(
        name.text or ""
        for name in root.iterfind("properties/hudson.model.ParametersDefinitionProperty/*/*/name")
    )


def difference(name: str, before: Element | None, after: Element) -> str:
    """Return a unified diff from what the controller has to what it would get; empty without a difference.

    Left out are defaults that only the controller writes, and descriptions; values of secrets are hidden.
    """
    wanted, has = _plain(after), []
    for tag in ("actions", "description"):
        _remove(wanted, tag)
    if before is not None:
        kept = _plain(before)
        for tag in ("actions", "description"):
            _remove(kept, tag)
        has = _shown(_without_defaults(kept, wanted))
    source = f"controller/{name}" if before is not None else "/dev/null"
    return "".join(difflib.unified_diff(has, _shown(wanted), source, f"rendered/{name}"))


def _plain(root: Element) -> Element:
    """Return a copy without versions of plugins and blanks between elements."""
    plain = copy.deepcopy(root)
    for element in plain.iter():
        element.attrib.pop("plugin", None)
        element.tail = None
        if len(element) or not (element.text or "").strip():
            element.text = None
    return plain


def _remove(root: Element, tag: str) -> None:
    for element in root.findall(tag):
        root.remove(element)


def _without_defaults(has: Element, wanted: Element) -> Element:
    """Drop from ``has`` the empty and false elements that ``wanted`` doesn't name."""
    named = {element.tag for element in wanted}
    for element in list(has):
        if element.tag not in named and not len(element) and (element.text or "false") == "false":
            has.remove(element)
        elif (same := wanted.find(element.tag)) is not None:
            _without_defaults(element, same)
    return has


def _shown(root: Element) -> list[str]:
    for element in root.iter():
        if element.tag not in _ORDERED:
            element[:] = sorted(element, key=lambda child: child.tag)
        if _SECRET.search(element.tag) and element.text and not len(element):
            element.text = "********"
    ET.indent(root)
    return [f"{line}\n" for line in ET.tostring(root, encoding="unicode").splitlines()]
