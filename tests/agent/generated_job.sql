USE [msdb]
GO

/****** Object:  Job [Nightly shop] ******/
BEGIN TRANSACTION
DECLARE @ReturnCode INT
SELECT @ReturnCode = 0
IF NOT EXISTS (SELECT name FROM msdb.dbo.sysoperators WHERE name=N'Night shift')
BEGIN
EXEC @ReturnCode = msdb.dbo.sp_add_operator @name=N'Night shift',
		@enabled=1,
		@weekday_pager_start_time=90000,
		@weekday_pager_end_time=180000,
		@saturday_pager_start_time=90000,
		@saturday_pager_end_time=180000,
		@sunday_pager_start_time=90000,
		@sunday_pager_end_time=180000,
		@pager_days=0,
		@email_address=N'night@example.com',
		@category_name=N'[Uncategorized]'
IF (@@ERROR <> 0 OR @ReturnCode <> 0) GOTO QuitWithRollback

END
/****** Object:  JobCategory [Shop upkeep] ******/
IF NOT EXISTS (SELECT name FROM msdb.dbo.syscategories WHERE name=N'Shop upkeep' AND category_class=1)
BEGIN
EXEC @ReturnCode = msdb.dbo.sp_add_category @class=N'JOB', @type=N'LOCAL', @name=N'Shop upkeep'
IF (@@ERROR <> 0 OR @ReturnCode <> 0) GOTO QuitWithRollback

END

DECLARE @jobId BINARY(16)
EXEC @ReturnCode =  msdb.dbo.sp_add_job @job_name=N'Nightly shop',
		@enabled=1,
		@notify_level_eventlog=2,
		@notify_level_email=2,
		@notify_level_netsend=0,
		@notify_level_page=0,
		@delete_level=0,
		@description=N'Backup, check, clean-up.',
		@category_name=N'Shop upkeep',
		@owner_login_name=N'sa',
		@notify_email_operator_name=N'Night shift', @job_id = @jobId OUTPUT
IF (@@ERROR <> 0 OR @ReturnCode <> 0) GOTO QuitWithRollback
/****** Object:  Step [Back up] ******/
EXEC @ReturnCode = msdb.dbo.sp_add_jobstep @job_id=@jobId, @step_name=N'Back up',
		@step_id=1,
		@cmdexec_success_code=0,
		@on_success_action=3,
		@on_success_step_id=0,
		@on_fail_action=4,
		@on_fail_step_id=3,
		@retry_attempts=1,
		@retry_interval=0,
		@os_run_priority=0, @subsystem=N'TSQL',
		@command=N'BACKUP DATABASE [shop] TO  DISK = N''/var/opt/mssql/backup/nightly.bak'' WITH NOFORMAT, INIT,  NAME = N''shop-Full Database Backup'', SKIP, NOREWIND, NOUNLOAD,  STATS = 10
GO
declare @backupSetId as int
select @backupSetId = position from msdb..backupset where database_name=N''shop'' and backup_set_id=(select max(backup_set_id) from msdb..backupset where database_name=N''shop'' )
if @backupSetId is null begin raiserror(N''Verify failed. Backup information for database ''''shop'''' not found.'', 16, 1) end
RESTORE VERIFYONLY FROM  DISK = N''/var/opt/mssql/backup/nightly.bak'' WITH  FILE = @backupSetId,  NOUNLOAD,  NOREWIND
GO
',
		@database_name=N'master',
		@output_file_name=N'/var/opt/mssql/backup/nightly.txt',
		@flags=2
IF (@@ERROR <> 0 OR @ReturnCode <> 0) GOTO QuitWithRollback
/****** Object:  Step [Note] ******/
EXEC @ReturnCode = msdb.dbo.sp_add_jobstep @job_id=@jobId, @step_name=N'Note',
		@step_id=2,
		@cmdexec_success_code=0,
		@on_success_action=1,
		@on_success_step_id=0,
		@on_fail_action=2,
		@on_fail_step_id=0,
		@retry_attempts=0,
		@retry_interval=0,
		@os_run_priority=0, @subsystem=N'TSQL',
		@command=N'INSERT dbo.notes VALUES (N''$(ESCAPE_SQUOTE(JOBNAME)) step $(ESCAPE_SQUOTE(STEPID))'')',
		@database_name=N'shop',
		@flags=0
IF (@@ERROR <> 0 OR @ReturnCode <> 0) GOTO QuitWithRollback
/****** Object:  Step [Complain] ******/
EXEC @ReturnCode = msdb.dbo.sp_add_jobstep @job_id=@jobId, @step_name=N'Complain',
		@step_id=3,
		@cmdexec_success_code=0,
		@on_success_action=2,
		@on_success_step_id=0,
		@on_fail_action=2,
		@on_fail_step_id=0,
		@retry_attempts=0,
		@retry_interval=0,
		@os_run_priority=0, @subsystem=N'TSQL',
		@command=N'RAISERROR(N''the backup failed'', 16, 1)',
		@database_name=N'shop',
		@flags=0
IF (@@ERROR <> 0 OR @ReturnCode <> 0) GOTO QuitWithRollback
EXEC @ReturnCode = msdb.dbo.sp_update_job @job_id = @jobId, @start_step_id = 1
IF (@@ERROR <> 0 OR @ReturnCode <> 0) GOTO QuitWithRollback
EXEC @ReturnCode = msdb.dbo.sp_add_jobschedule @job_id=@jobId, @name=N'Nightly',
		@enabled=1,
		@freq_type=8,
		@freq_interval=62,
		@freq_subday_type=1,
		@freq_subday_interval=0,
		@freq_relative_interval=0,
		@freq_recurrence_factor=1,
		@active_start_date=20990101,
		@active_end_date=99991231,
		@active_start_time=10000,
		@active_end_time=235959,
		@schedule_uid=N'6c1f2c4e-6c80-4a8e-8d0a-1f7c2a9d0b11'
IF (@@ERROR <> 0 OR @ReturnCode <> 0) GOTO QuitWithRollback
EXEC @ReturnCode = msdb.dbo.sp_add_jobserver @job_id = @jobId, @server_name = N'(local)'
IF (@@ERROR <> 0 OR @ReturnCode <> 0) GOTO QuitWithRollback
COMMIT TRANSACTION
GOTO EndSave
QuitWithRollback:
    IF (@@TRANCOUNT > 0) ROLLBACK TRANSACTION
EndSave:
GO
