"""Long work as jobs: asked for, worked on in the background, left as a summary and a file for some days."""

from invoicing.services.billing_jobs.starting import (
    JobFileGone,
    JobFinished,
    NewJob,
    cancel_job,
    describe_job,
    dispatch_job,
    open_job_file,
    purge_job_files,
    start_job,
)
from invoicing.services.billing_jobs.working import work_job

__all__ = [
    "JobFileGone",
    "JobFinished",
    "NewJob",
    "cancel_job",
    "describe_job",
    "dispatch_job",
    "open_job_file",
    "purge_job_files",
    "start_job",
    "work_job",
]
