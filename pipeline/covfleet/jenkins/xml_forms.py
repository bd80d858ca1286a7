"""Compare, hash and show the XML of jobs, folders and views.

A controller doesn't keep the XML that it receives: it serialises its objects on every request, with its own
plugin versions, defaults and order, and drops unknown elements (``AbstractItem.writeConfigDotXml`` in
Jenkins' source). So the XML that was sent is never compared with the present one; each is compared with its
own hash.
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
    """Parse the config.xml of ``name`` from a controller or a template.

    Jenkins declares XML 1.1, which Python's parser rejects; nothing that Jenkins writes needs 1.1.

    Raises:
        JenkinsError: it isn't valid XML, or declares entities, which Jenkins never does.
    """
    if "<!DOCTYPE" in xml or "<!ENTITY" in xml:
        raise JenkinsError(f"the config.xml of {name} declares a document type, which Jenkins never writes")
    try:
        return ET.fromstring(_HEADER.sub("", xml))  # noqa: S314 - no entities: see above
    except ET.ParseError as error:
        raise JenkinsError(
            f"the config.xml of {name} isn't valid XML: {error}",
            hint="Check the job in Jenkins, or delete it.",
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
    """Return a hash, 12 hex digits, of everything but plugin versions and whitespace between elements."""
    return hashlib.sha256(ET.tostring(_plain(root))).hexdigest()[:12]


def state_hash(root: Element) -> str:
    """Return a hash, 12 hex digits, of an item's state without the parts that covfleet and builds change.

    These parts are the description with its mark, the actions and, as a run of a declarative pipeline
    rewrites them from its Jenkinsfile, the properties (parameters and options) of a pipeline job.
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
    """Return a unified diff from the controller's XML to the new one; empty without a difference.

    It leaves out defaults that only the controller writes, and descriptions; values of secrets are hidden.
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
    """Return a copy without plugin versions and whitespace between elements."""
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
    """Remove empty and false elements from ``has`` that ``wanted`` doesn't contain."""
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
