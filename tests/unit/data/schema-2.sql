BEGIN TRANSACTION;
CREATE TABLE jobs (
                id                 TEXT PRIMARY KEY,
                created_ns         INTEGER NOT NULL,
                name               TEXT NOT NULL,
                command            TEXT NOT NULL,
                args               TEXT NOT NULL, -- JSON list
                cpu_max_percent    INTEGER NOT NULL,
                cpu_cores          TEXT NOT NULL,
                memory_max_bytes   INTEGER NOT NULL,
                io_max_bytes_per_s INTEGER NOT NULL,
                timeout_s          REAL NOT NULL,
                work_dir           TEXT NOT NULL,
                environment        TEXT NOT NULL, -- JSON object
                secret_names       TEXT NOT NULL, -- JSON list; the values are kept nowhere
                limits_enforced    TEXT NOT NULL,
                state              TEXT NOT NULL,
                started_ns         INTEGER NOT NULL DEFAULT 0,
                pid                INTEGER NOT NULL DEFAULT 0,
                ended_ns           INTEGER NOT NULL DEFAULT 0,
                exit_code          INTEGER NOT NULL DEFAULT 0,
                reason             TEXT NOT NULL DEFAULT '',
                signal             INTEGER NOT NULL DEFAULT 0,
                oom_killed         INTEGER NOT NULL DEFAULT 0,
                log_bytes          INTEGER NOT NULL DEFAULT 0,
                cpu_usec           INTEGER NOT NULL DEFAULT 0,
                memory_peak_bytes  INTEGER NOT NULL DEFAULT 0,
                io_read_bytes      INTEGER NOT NULL DEFAULT 0,
                io_write_bytes     INTEGER NOT NULL DEFAULT 0
            , workflow TEXT NOT NULL DEFAULT '', dependencies TEXT NOT NULL DEFAULT '[]');
INSERT INTO "jobs" VALUES('f47ac10b-58cc-4372-a567-0e02b2c3d479',1705314600000000000,'','echo','["hello"]',100,'',536870912,0,3600.0,'','{"LANG": "C"}','["TOKEN"]','yes','COMPLETED',1705314600003000000,0,1705314601000000000,0,'',0,0,6,1200,4096,0,0,'','[]');
INSERT INTO "jobs" VALUES('6ba7b810-9dad-11d1-80b4-00c04fd430c8',1705314900000000000,'','python3','["script.py"]',100,'',536870912,0,3600.0,'','{"LANG": "C"}','["TOKEN"]','yes','RUNNING',1705314900003000000,12345,0,0,'',0,0,0,0,0,0,0,'','[]');
INSERT INTO "jobs" VALUES('6ba7b811-9dad-11d1-80b4-00c04fd430c8',1705315200000000000,'','invalid-command','[]',100,'',536870912,0,3600.0,'','{"LANG": "C"}','["TOKEN"]','yes','FAILED',1705315200003000000,0,1705315200005000000,127,'command not found: invalid-command',0,0,42,0,0,0,0,'','[]');
CREATE TABLE migrations (number INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at TEXT NOT NULL);
INSERT INTO "migrations" VALUES(1,'jobs','2024-01-15 10:30:00');
INSERT INTO "migrations" VALUES(2,'workflows','2024-01-15 10:30:00');
CREATE TABLE workflows (
                id             TEXT PRIMARY KEY,
                created_ns     INTEGER NOT NULL,
                name           TEXT NOT NULL,
                yaml           TEXT NOT NULL,            -- secrets masked
                sealed         TEXT NOT NULL,            -- the file as submitted, encrypted; empty once it has ended
                total          INTEGER NOT NULL,
                stop_requested INTEGER NOT NULL DEFAULT 0,
                state          TEXT NOT NULL DEFAULT '', -- empty until it has ended, and so are the rest
                started_ns     INTEGER NOT NULL DEFAULT 0,
                ended_ns       INTEGER NOT NULL DEFAULT 0,
                completed      INTEGER NOT NULL DEFAULT 0,
                failed         INTEGER NOT NULL DEFAULT 0,
                canceled       INTEGER NOT NULL DEFAULT 0,
                reason         TEXT NOT NULL DEFAULT '',
                jobs           TEXT NOT NULL DEFAULT '[]' -- JSON list of lists
            );
CREATE INDEX jobs_by_age ON jobs (created_ns);
CREATE INDEX jobs_unfinished ON jobs (created_ns) WHERE state IN ('INITIALIZING', 'RUNNING');
CREATE INDEX jobs_of_workflow ON jobs (workflow) WHERE workflow != '';
CREATE INDEX workflows_by_age ON workflows (created_ns);
CREATE INDEX workflows_unfinished ON workflows (created_ns) WHERE state = '';
COMMIT;
