"""The texts of sys.messages that the procedures of jobs raise by number."""

from __future__ import annotations

from typing import Final

MESSAGES: Final = {
    14226: "%ld history entries purged.",
    14232: "Specify either a job_name, job_id, or an originating_server.",
    14234: "The specified '%s' is invalid (valid values are returned by %s).",
    14235: "The specified '%s' is invalid (valid values are greater than 0 but excluding %ld).",
    14236: "Warning: Non-existent step referenced by %s.",
    14243: "Job '%s' started successfully.",
    14254: "Job '%s' stopped successfully.",
    14256: (
        'Cannot start the job "%s" (ID %s) because it does not have any job server or servers defined.'
        " Associate the job with a job server by calling sp_add_jobserver."
    ),
    14257: (
        'Cannot stop the job "%s" (ID %s) because it does not have any job server or servers defined.'
        " Associate the job with a job server by calling sp_add_jobserver."
    ),
    14261: "The specified %s ('%s') already exists.",
    14262: "The specified %s ('%s') does not exist.",
    14266: "The specified '%s' is invalid (valid values are: %s).",
    14269: "Job '%s' is already targeted at server '%s'.",
    14270: "Job '%s' is not currently targeted at server '%s'.",
    14273: (
        "You must provide either @job_id or @job_name (and, optionally, @schedule_name), or @schedule_id."
    ),
    14276: "'%s' is a permanent %s category and cannot be deleted.",
    14278: "The schedule for this job is invalid (reason: %s).",
    14287: "The '%s' supplied has an invalid %s.",
    14288: "%s cannot be before %s.",
    14294: "Supply either %s or %s to identify the job.",
    14295: "Frequency Type 0x2 (OnDemand) is no longer supported.",
    14366: "Only members of sysadmin role can modify the owner of a schedule.",
    14369: 'The schedule ID "%s" is used by more than one job. Specify the job_id.',
    14371: (
        'There are two or more schedules named "%s". Specify %s instead of %s to uniquely identify the'
        " schedule."
    ),
    14372: "The schedule was not deleted because it is being used by one or more jobs.",
    14373: "Supply either %s or %s to identify the schedule.",
    14390: "Only members of role sysadmin can specify the %s parameter.",
    14391: "Only owner of a job or members of sysadmin role can detach a schedule.",
    14392: (
        "Only owner of a job or members of role sysadmin or SQLAgentOperatorRole can purge history of the"
        " job."
    ),
    14393: (
        "Only owner of a job or members of role sysadmin or SQLAgentOperatorRole can start and stop the job."
    ),
    14394: "Only owner of a job schedule or members of sysadmin role can modify or delete the job schedule.",
    14500: (
        "Supply either a non-zero message ID, non-zero severity, non-null performance condition, or non-null"
        " WMI namespace and query."
    ),
    14515: (
        "Only a member of the sysadmin server role can add a job for a different owner with"
        " @owner_login_name."
    ),
    14525: "Only members of sysadmin role are allowed to update or delete jobs owned by a different login.",
    14526: 'The specified category "%s" does not exist for category class "%s".',
    14528: 'Job "%s" has no steps defined.',
    14545: "The %s parameter is not valid for a job step of type '%s'.",
    14606: "%s id is not valid",
    14607: "%s name is not valid",
    14608: "Either %s or %s parameter needs to be supplied",
    15010: (
        "The database '%s' does not exist. Supply a valid database name. To see available databases, use"
        " sys.databases."
    ),
    22022: "SQLServerAgent Error: %s.",
}


def refuse(number: int, *arguments: str) -> str:
    """T-SQL that raises a message and leaves the procedure with 1."""
    return f"BEGIN RAISERROR({', '.join([str(number), '16', '1', *arguments])}) RETURN 1 END"
