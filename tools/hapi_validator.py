"""HAPI's FHIR validator, driven from Python: base R4, offline.

The jars are those of `tools/fetch_validator.py`; py4j, which comes with pyspark, talks to the Java process. Profiles
other than R4's own are not there: a record that claims one is told so by an unknown-profile message.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from py4j.java_gateway import GatewayParameters, JavaGateway, launch_gateway
from py4j.protocol import Py4JJavaError

from spark_jobs.java import java_home
from tools.fetch_validator import VALIDATOR

MEMORY = "-Xmx1500m"
# Base R4's definitions, and what it takes to judge codes of common systems without a terminology server.
SUPPORTS = ("CommonCodeSystemsTerminologyService", "InMemoryTerminologyServerValidationSupport")
# What is in a location besides names: an index, a comment with a resource's id, a type.
NOT_A_NAME = re.compile(r"\[[^\]]*\]|/\*.*?\*/|\.(?:ofType|where|resolve)\([^)]*\)")
# The validator's parser gives no message ids; these are its messages without the values in them.
PARSER = {
    "Unrecognized property": "Parser_Unknown_Property",
    r"must be a JSON \w+|primitive value must be": "Parser_Wrong_JSON_Type",
    "Array cannot be empty": "Parser_Empty_Array",
    "Object must have some content": "Parser_Empty_Object",
    "is a duplicate": "Parser_Duplicate_Property",
    "has no quotes around": "Parser_No_Quotes",
    "Unable to find resourceType": "Parser_No_Resource_Type",
    "in the XHTML": "Parser_XHTML",
}
NOT_JSON, FAILED, UNNAMED = "Parser_Not_JSON", "Validator_Failed", "(no message id)"


@dataclass(frozen=True, order=True)
class Finding:
    """What the validator says of a place in a record: `kind` is its message id, `path` has no indices.

    No value of the record is in it.
    """

    severity: str
    kind: str
    path: str

    @property
    def is_unknown_profile(self) -> bool:
        """Whether it only says that a claimed profile is not at hand."""
        return "Profile_Unknown" in self.kind


class Validator:
    """A Java process with the validator in it: its first record takes some 5 seconds, another one 20 milliseconds."""

    def __enter__(self) -> Self:
        port, token = launch_gateway(
            classpath=str(VALIDATOR.folder / "*"),
            java_path=str(Path(java_home(), "bin/java")),
            javaopts=[MEMORY, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"],
            enable_auth=True,
            die_on_exit=True,
        )
        parameters = GatewayParameters(port=port, auth_token=token, auto_convert=True)
        self._gateway = JavaGateway(gateway_parameters=parameters)
        self._validator = self._made()
        return self

    def _made(self) -> Any:
        java = self._gateway.jvm
        context = java.ca.uhn.fhir.context.FhirContext.forR4()
        package = java.org.hl7.fhir.common.hapi.validation
        supports = [java.ca.uhn.fhir.context.support.DefaultProfileValidationSupport(context)]
        supports += [getattr(package.support, name)(context) for name in SUPPORTS]
        kind = java.ca.uhn.fhir.context.support.IValidationSupport
        chained = self._gateway.new_array(kind, len(supports))
        for at, support in enumerate(supports):
            chained[at] = support
        instance = package.validator.FhirInstanceValidator(package.support.ValidationSupportChain(chained))
        instance.setAnyExtensionsAllowed(True)
        instance.setErrorForUnknownProfiles(False)
        return context.newValidator().registerValidatorModule(instance)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._gateway.shutdown()

    def findings(self, resource: str) -> list[Finding]:
        """What is to be said of a resource's JSON text; also that the validator itself failed over it."""
        try:
            messages = self._validator.validateWithResult(resource).getMessages()
        except Py4JJavaError as error:
            is_syntax = "JsonSyntaxException" in error.java_exception.getClass().getName()
            return [Finding("fatal", NOT_JSON if is_syntax else FAILED, "")]
        return [_finding(message) for message in messages]


def _finding(message: Any) -> Finding:
    said = message.getMessage() or ""
    named = (kind for pattern, kind in PARSER.items() if re.search(pattern, said))
    kind = message.getMessageId() or next(named, UNNAMED)
    location = NOT_A_NAME.sub("", message.getLocationString() or "")
    return Finding(str(message.getSeverity().getCode()), kind.rpartition("/")[2], location)
