"""Patient and study of the source, carried exactly into what is made from it: nothing added, nothing private."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING

from pydicom.valuerep import PersonName

if TYPE_CHECKING:
    from pydicom.dataelem import DataElement
    from pydicom.dataset import Dataset

UTF8 = "ISO_IR 192"
# Attributes of the Patient, General Study, Patient Study and Clinical Trial modules (PS3.3, C.7.1 and C.7.2), and two
# that older editions had there.
CARRIED = (
    "ReferencedPatientSequence", "PatientName", "PatientID", "IssuerOfPatientID", "TypeOfPatientID",
    "IssuerOfPatientIDQualifiersSequence", "SourcePatientGroupIdentificationSequence",
    "GroupOfPatientsIdentificationSequence", "PatientBirthDate", "PatientBirthTime",
    "PatientBirthDateInAlternativeCalendar", "PatientDeathDateInAlternativeCalendar", "PatientAlternativeCalendar",
    "PatientSex", "QualityControlSubject", "StrainDescription", "StrainNomenclature", "StrainStockSequence",
    "StrainAdditionalInformation", "StrainCodeSequence", "GeneticModificationsSequence", "OtherPatientNames",
    "OtherPatientIDsSequence", "ReferencedPatientPhotoSequence", "EthnicGroupCodeSequence",
    "PatientSpeciesDescription", "PatientSpeciesCodeSequence", "PatientBreedDescription",
    "PatientBreedCodeSequence", "BreedRegistrationSequence", "ResponsiblePerson", "ResponsiblePersonRole",
    "ResponsibleOrganization", "PatientComments", "PatientIdentityRemoved", "DeidentificationMethod",
    "DeidentificationMethodCodeSequence", "ClinicalTrialSponsorName", "ClinicalTrialProtocolID",
    "ClinicalTrialProtocolName", "IssuerOfClinicalTrialProtocolID", "OtherClinicalTrialProtocolIDsSequence",
    "ClinicalTrialSiteID", "ClinicalTrialSiteName", "IssuerOfClinicalTrialSiteID", "ClinicalTrialSubjectID",
    "IssuerOfClinicalTrialSubjectID", "ClinicalTrialSubjectReadingID", "IssuerOfClinicalTrialSubjectReadingID",
    "ClinicalTrialProtocolEthicsCommitteeName", "ClinicalTrialProtocolEthicsCommitteeApprovalNumber", "StudyDate",
    "StudyTime", "AccessionNumber", "IssuerOfAccessionNumberSequence", "ReferringPhysicianName",
    "ReferringPhysicianIdentificationSequence", "ConsultingPhysicianName",
    "ConsultingPhysicianIdentificationSequence", "StudyDescription", "ProcedureCodeSequence", "PhysiciansOfRecord",
    "PhysiciansOfRecordIdentificationSequence", "NameOfPhysiciansReadingStudy",
    "PhysiciansReadingStudyIdentificationSequence", "ReferencedStudySequence", "StudyInstanceUID", "StudyID",
    "RequestingService", "RequestingServiceCodeSequence", "ReasonForPerformedProcedureCodeSequence",
    "AdmittingDiagnosesDescription", "AdmittingDiagnosesCodeSequence", "PatientAge", "PatientSize",
    "PatientSizeCodeSequence", "PatientBodyMassIndex", "MeasuredAPDimension", "MeasuredLateralDimension",
    "PatientWeight", "MedicalAlerts", "Allergies", "Occupation", "SmokingStatus", "AdditionalPatientHistory",
    "PregnancyStatus", "LastMenstrualDate", "PatientSexNeutered", "ReasonForVisit", "ReasonForVisitCodeSequence",
    "AdmissionID", "IssuerOfAdmissionIDSequence", "ServiceEpisodeID", "ServiceEpisodeDescription",
    "IssuerOfServiceEpisodeIDSequence", "PatientState", "ClinicalTrialTimePointID",
    "ClinicalTrialTimePointDescription", "LongitudinalTemporalOffsetFromEvent", "LongitudinalTemporalEventType",
    "ClinicalTrialTimePointTypeCodeSequence", "IssuerOfClinicalTrialTimePointID",
    "ConsentForClinicalTrialUseSequence", "OtherPatientIDs", "EthnicGroup",
)  # fmt: skip
# What must be there, be it empty (type 2).
NEEDED = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "AccessionNumber",
    "ReferringPhysicianName", "StudyID",
)  # fmt: skip


def carry(source: Dataset, made: Dataset, texts: str = "") -> None:
    """Put the patient and the study of a source into an object that was made from it.

    What else the object says of them is removed. The character set is the source's, so that names stay byte for byte
    what they were; where the object has texts of its own beyond ASCII it is UTF-8, and the names are the same letters.

    Args:
        source: header, without private elements.
        made: is changed.
        texts: those of the object's own.
    """
    header = deepcopy(source)
    header.decode()
    charset = header.get("SpecificCharacterSet")
    if not texts.isascii():
        charset = UTF8
        header.walk(_as_letters)
    if charset:
        made.SpecificCharacterSet = charset
    elif "SpecificCharacterSet" in made:
        del made.SpecificCharacterSet
    for keyword in CARRIED:
        if keyword in header:
            made[keyword] = header[keyword]
        elif keyword in NEEDED:
            setattr(made, keyword, None)
        elif keyword in made:
            del made[keyword]


def _as_letters(_: Dataset, element: DataElement) -> None:
    """Forget the bytes that a person's name was read from, so that it is written in another character set."""
    if element.VR != "PN" or element.is_empty:
        return
    names = element.value if element.VM > 1 else [element.value]
    letters = [PersonName(str(name)) for name in names]
    element.value = letters if element.VM > 1 else letters[0]
