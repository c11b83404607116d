"""The report: one self-contained HTML file, and its figures as PNG."""

from __future__ import annotations

from keras_cmm.evaluation import MappedEmbeddings
from keras_cmm.report.audit_content import AuditContent
from keras_cmm.report.classifier_result import ClassifierResult
from keras_cmm.report.gallery_picture import GalleryPicture
from keras_cmm.report.image_sheets import contact_sheet, mistakes_sheet
from keras_cmm.report.report_content import ReportContent
from keras_cmm.report.write_audit_page import write_audit_page
from keras_cmm.report.write_plots import write_confusions, write_plots
from keras_cmm.report.write_ranks import write_ranks
from keras_cmm.report.write_report import write_report

__all__ = [
    "AuditContent",
    "ClassifierResult",
    "GalleryPicture",
    "MappedEmbeddings",
    "ReportContent",
    "contact_sheet",
    "mistakes_sheet",
    "write_audit_page",
    "write_confusions",
    "write_plots",
    "write_ranks",
    "write_report",
]
