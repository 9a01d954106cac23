CREATE TABLE "audit" (
	"id" bigserial PRIMARY KEY NOT NULL,
	"at" timestamp (6) with time zone DEFAULT now() NOT NULL,
	"actor" text NOT NULL,
	"action" text NOT NULL,
	"target" text NOT NULL,
	"facts" jsonb DEFAULT '{}'::jsonb NOT NULL
);
--> statement-breakpoint
CREATE TABLE "blobs" (
	"sha256" text PRIMARY KEY NOT NULL,
	"size_bytes" bigint NOT NULL,
	"state" text DEFAULT 'live' NOT NULL,
	"touched_at" timestamp (6) with time zone DEFAULT now() NOT NULL,
	"created_at" timestamp (6) with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "environments" (
	"environment_key" text PRIMARY KEY NOT NULL,
	"lock_sha256" text NOT NULL,
	"python" text NOT NULL,
	"platform" text NOT NULL,
	"base" text,
	"facts" jsonb DEFAULT '{}'::jsonb NOT NULL,
	"created_at" timestamp (6) with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "locks" (
	"lock_key" text PRIMARY KEY NOT NULL,
	"lock_sha256" text NOT NULL,
	"source" jsonb NOT NULL,
	"created_at" timestamp (6) with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "dataset_files" (
	"dataset_name" text NOT NULL,
	"version" integer NOT NULL,
	"path" text NOT NULL,
	"size_bytes" bigint NOT NULL,
	"sha256" text NOT NULL,
	CONSTRAINT "dataset_files_dataset_name_version_path_pk" PRIMARY KEY("dataset_name","version","path")
);
--> statement-breakpoint
CREATE TABLE "dataset_versions" (
	"dataset_name" text NOT NULL,
	"version" integer NOT NULL,
	"digest" text NOT NULL,
	"files" integer NOT NULL,
	"size_bytes" bigint NOT NULL,
	"committed_at" timestamp(6) with time zone NOT NULL,
	"committed_by" text NOT NULL,
	CONSTRAINT "dataset_versions_dataset_name_version_pk" PRIMARY KEY("dataset_name","version")
);
--> statement-breakpoint
CREATE TABLE "datasets" (
	"name" text PRIMARY KEY NOT NULL,
	"created_by" text NOT NULL,
	"created_at" timestamp (6) with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "lake_segments" (
	"seq" bigserial PRIMARY KEY NOT NULL,
	"table_name" text NOT NULL,
	"sha256" text NOT NULL,
	"rows" bigint NOT NULL,
	"size_bytes" bigint NOT NULL,
	"columns" jsonb NOT NULL,
	"committed_at" timestamp(6) with time zone NOT NULL,
	"committed_by" text NOT NULL,
	"append_key" text,
	CONSTRAINT "lake_segments_append_key_unique" UNIQUE("append_key")
);
--> statement-breakpoint
CREATE TABLE "lake_tables" (
	"name" text PRIMARY KEY NOT NULL,
	"columns" jsonb NOT NULL,
	"created_by" text NOT NULL,
	"created_at" timestamp (6) with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "snapshots" (
	"id" uuid PRIMARY KEY NOT NULL,
	"snapshot_key" text NOT NULL,
	"query" text NOT NULL,
	"params" jsonb NOT NULL,
	"as_of" timestamp(6) with time zone NOT NULL,
	"segments" jsonb NOT NULL,
	"engine" text NOT NULL,
	"sha256" text NOT NULL,
	"size_bytes" bigint NOT NULL,
	"rows" bigint NOT NULL,
	"columns" jsonb NOT NULL,
	"ordered_digest" text NOT NULL,
	"unordered_digest" text NOT NULL,
	"profile" jsonb NOT NULL,
	"created_at" timestamp (6) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "snapshots_snapshot_key_unique" UNIQUE("snapshot_key"),
	CONSTRAINT "snapshots_blob" UNIQUE("snapshot_key","sha256")
);
--> statement-breakpoint
CREATE TABLE "aliases" (
	"model_id" uuid NOT NULL,
	"alias" text NOT NULL,
	"version" integer NOT NULL,
	"moved_at" timestamp (6) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "aliases_model_id_alias_pk" PRIMARY KEY("model_id","alias")
);
--> statement-breakpoint
CREATE TABLE "models" (
	"id" uuid PRIMARY KEY NOT NULL,
	"project_id" uuid NOT NULL,
	"name" text NOT NULL,
	"next_version" integer DEFAULT 1 NOT NULL,
	"created_at" timestamp (6) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "models_name_unique" UNIQUE("name")
);
--> statement-breakpoint
CREATE TABLE "pins" (
	"model_id" uuid NOT NULL,
	"version" integer NOT NULL,
	"sha256" text NOT NULL,
	"what" text NOT NULL,
	CONSTRAINT "pins_model_id_version_sha256_what_pk" PRIMARY KEY("model_id","version","sha256","what")
);
--> statement-breakpoint
CREATE TABLE "promotions" (
	"id" bigserial PRIMARY KEY NOT NULL,
	"model_id" uuid NOT NULL,
	"alias" text NOT NULL,
	"version" integer NOT NULL,
	"previous_version" integer,
	"run_id" uuid NOT NULL,
	"by" text NOT NULL,
	"reason" text,
	"evidence" jsonb NOT NULL,
	"at" timestamp (6) with time zone DEFAULT clock_timestamp() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "versions" (
	"model_id" uuid NOT NULL,
	"number" integer NOT NULL,
	"run_id" uuid NOT NULL,
	"created_at" timestamp (6) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "versions_model_id_number_pk" PRIMARY KEY("model_id","number"),
	CONSTRAINT "versions_run" UNIQUE("model_id","run_id")
);
--> statement-breakpoint
CREATE TABLE "nodes" (
	"id" text PRIMARY KEY NOT NULL,
	"pool" text NOT NULL,
	"host" text NOT NULL,
	"slots" integer NOT NULL,
	"shape" jsonb NOT NULL,
	"hardware" jsonb DEFAULT '{}'::jsonb NOT NULL,
	"started_at" timestamp (6) with time zone DEFAULT now() NOT NULL,
	"lease_expires_at" timestamp (6) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "projects" (
	"id" uuid PRIMARY KEY NOT NULL,
	"name" text NOT NULL,
	"remote_url" text,
	"default_branch" text DEFAULT 'main' NOT NULL,
	"next_run_number" integer DEFAULT 1 NOT NULL,
	"created_by" text NOT NULL,
	"created_at" timestamp (6) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "projects_name_unique" UNIQUE("name")
);
--> statement-breakpoint
CREATE TABLE "run_data" (
	"run_id" uuid NOT NULL,
	"name" text NOT NULL,
	"to" text NOT NULL,
	"as_of" timestamp(6) with time zone NOT NULL,
	"snapshot_id" uuid,
	"dataset_name" text,
	"dataset_version" integer,
	"digest" text NOT NULL,
	"facts" jsonb DEFAULT '{}'::jsonb NOT NULL,
	CONSTRAINT "run_data_run_id_name_pk" PRIMARY KEY("run_id","name")
);
--> statement-breakpoint
CREATE TABLE "executions" (
	"run_id" uuid NOT NULL,
	"n" integer NOT NULL,
	"dispatch" text DEFAULT 'queued' NOT NULL,
	"status" text DEFAULT 'queued' NOT NULL,
	"created_at" timestamp (6) with time zone DEFAULT now() NOT NULL,
	"dispatched_at" timestamp (6) with time zone,
	"started_at" timestamp (6) with time zone,
	"finished_at" timestamp (6) with time zone,
	"execution_id" text,
	"failure" jsonb,
	CONSTRAINT "executions_run_id_n_pk" PRIMARY KEY("run_id","n")
);
--> statement-breakpoint
CREATE TABLE "idempotency_keys" (
	"token_id" uuid NOT NULL,
	"key" text NOT NULL,
	"route" text NOT NULL,
	"body_sha256" text NOT NULL,
	"resource_id" text NOT NULL,
	"created_at" timestamp (6) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "idempotency_keys_token_id_key_pk" PRIMARY KEY("token_id","key")
);
--> statement-breakpoint
CREATE TABLE "runs" (
	"id" uuid PRIMARY KEY NOT NULL,
	"project_id" uuid NOT NULL,
	"number" integer NOT NULL,
	"experiment" text DEFAULT 'default' NOT NULL,
	"name" text,
	"note" text,
	"tags" text[] DEFAULT '{}'::text[] NOT NULL,
	"owner" text NOT NULL,
	"status" text DEFAULT 'queued' NOT NULL,
	"waiting_reason" text,
	"submitted_at" timestamp (6) with time zone DEFAULT now() NOT NULL,
	"started_at" timestamp (6) with time zone,
	"finished_at" timestamp (6) with time zone,
	"updated_at" timestamp (6) with time zone DEFAULT now() NOT NULL,
	"ref" text NOT NULL,
	"as_of" timestamp(6) with time zone NOT NULL,
	"overrides" jsonb NOT NULL,
	"seed_asked" bigint,
	"command" jsonb,
	"dirty" boolean DEFAULT false NOT NULL,
	"patch_sha256" text,
	"reuse" boolean DEFAULT true NOT NULL,
	"like_run_id" uuid,
	"resumed_from" uuid,
	"branch" text,
	"commit" text,
	"tree" text,
	"commit_message" text,
	"commit_author" text,
	"source_sha256" text,
	"config" jsonb,
	"params" jsonb,
	"seed" bigint,
	"plan" jsonb,
	"environment_key" text,
	"failure" jsonb,
	"gate_result" text,
	"gate_report" jsonb,
	"manifest_sha256" text,
	"delete_after" timestamp (6) with time zone,
	"cancel_requested_at" timestamp (6) with time zone,
	"cancel_requested_by" text,
	CONSTRAINT "runs_project_number" UNIQUE("project_id","number")
);
--> statement-breakpoint
CREATE TABLE "secrets" (
	"project_id" uuid NOT NULL,
	"name" text NOT NULL,
	"version" integer NOT NULL,
	"sealed" "bytea",
	"created_by" text NOT NULL,
	"created_at" timestamp (6) with time zone DEFAULT now() NOT NULL,
	"deleted_at" timestamp (6) with time zone,
	CONSTRAINT "secrets_project_id_name_version_pk" PRIMARY KEY("project_id","name","version")
);
--> statement-breakpoint
CREATE TABLE "artifacts" (
	"run_id" uuid NOT NULL,
	"step" text NOT NULL,
	"fence" integer NOT NULL,
	"path" text NOT NULL,
	"sha256" text NOT NULL,
	"size_bytes" bigint NOT NULL,
	"media_type" text NOT NULL,
	"executable" boolean DEFAULT false NOT NULL,
	"created_at" timestamp (6) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "artifacts_path" UNIQUE("run_id","step","fence","path")
);
--> statement-breakpoint
CREATE TABLE "attempts" (
	"run_id" uuid NOT NULL,
	"step" text NOT NULL,
	"fence" integer NOT NULL,
	"execution" integer NOT NULL,
	"node_id" text NOT NULL,
	"pool" text NOT NULL,
	"status" text DEFAULT 'starting' NOT NULL,
	"launch" text NOT NULL,
	"devices" jsonb DEFAULT '[]'::jsonb NOT NULL,
	"lease_expires_at" timestamp (6) with time zone NOT NULL,
	"token_hash" text,
	"created_at" timestamp (6) with time zone DEFAULT now() NOT NULL,
	"started_at" timestamp (6) with time zone,
	"finished_at" timestamp (6) with time zone,
	"exit_code" integer,
	"signal" text,
	"failure" jsonb,
	"peak_memory_bytes" bigint,
	"cpu_seconds" real,
	"hardware" jsonb,
	"facts" jsonb,
	CONSTRAINT "attempts_run_id_step_fence_pk" PRIMARY KEY("run_id","step","fence"),
	CONSTRAINT "attempts_launch_unique" UNIQUE("launch")
);
--> statement-breakpoint
CREATE TABLE "log_chunks" (
	"run_id" uuid NOT NULL,
	"step" text NOT NULL,
	"fence" integer NOT NULL,
	"offset_bytes" bigint NOT NULL,
	"size_bytes" integer NOT NULL,
	"sha256" text,
	"inline" "bytea",
	"created_at" timestamp (6) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "log_chunks_run_id_step_fence_offset_bytes_pk" PRIMARY KEY("run_id","step","fence","offset_bytes")
);
--> statement-breakpoint
CREATE TABLE "metrics" (
	"run_id" uuid NOT NULL,
	"step" text NOT NULL,
	"fence" integer NOT NULL,
	"key" text NOT NULL,
	"last" text NOT NULL,
	"min" text NOT NULL,
	"max" text NOT NULL,
	"count" integer NOT NULL,
	"last_step" bigint,
	"source" text NOT NULL,
	CONSTRAINT "metrics_run_id_step_fence_key_pk" PRIMARY KEY("run_id","step","fence","key")
);
--> statement-breakpoint
CREATE TABLE "step_claims" (
	"step_key" text PRIMARY KEY NOT NULL,
	"run_id" uuid NOT NULL,
	"execution" integer NOT NULL,
	"step" text NOT NULL,
	"claimed_at" timestamp (6) with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "steps" (
	"run_id" uuid NOT NULL,
	"execution" integer NOT NULL,
	"name" text NOT NULL,
	"kind" text NOT NULL,
	"position" integer NOT NULL,
	"needs" jsonb DEFAULT '[]'::jsonb NOT NULL,
	"status" text DEFAULT 'pending' NOT NULL,
	"reason" text,
	"step_key" text,
	"ingredients" jsonb,
	"reused_from" uuid,
	"facts" jsonb,
	"failure" jsonb,
	"fence" integer,
	"started_at" timestamp (6) with time zone,
	"finished_at" timestamp (6) with time zone,
	CONSTRAINT "steps_run_id_execution_name_pk" PRIMARY KEY("run_id","execution","name")
);
--> statement-breakpoint
CREATE TABLE "tokens" (
	"id" uuid PRIMARY KEY NOT NULL,
	"hash" text NOT NULL,
	"name" text NOT NULL,
	"owner" text NOT NULL,
	"role" text NOT NULL,
	"project_id" uuid,
	"created_at" timestamp (6) with time zone DEFAULT now() NOT NULL,
	"expires_at" timestamp (6) with time zone,
	"last_used_at" timestamp (6) with time zone,
	"revoked_at" timestamp (6) with time zone,
	CONSTRAINT "tokens_hash_unique" UNIQUE("hash")
);
--> statement-breakpoint
ALTER TABLE "environments" ADD CONSTRAINT "environments_lock_sha256_blobs_sha256_fk" FOREIGN KEY ("lock_sha256") REFERENCES "public"."blobs"("sha256") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "locks" ADD CONSTRAINT "locks_lock_sha256_blobs_sha256_fk" FOREIGN KEY ("lock_sha256") REFERENCES "public"."blobs"("sha256") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "dataset_files" ADD CONSTRAINT "dataset_files_sha256_blobs_sha256_fk" FOREIGN KEY ("sha256") REFERENCES "public"."blobs"("sha256") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "dataset_versions" ADD CONSTRAINT "dataset_versions_dataset_name_datasets_name_fk" FOREIGN KEY ("dataset_name") REFERENCES "public"."datasets"("name") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "lake_segments" ADD CONSTRAINT "lake_segments_table_name_lake_tables_name_fk" FOREIGN KEY ("table_name") REFERENCES "public"."lake_tables"("name") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "lake_segments" ADD CONSTRAINT "lake_segments_sha256_blobs_sha256_fk" FOREIGN KEY ("sha256") REFERENCES "public"."blobs"("sha256") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "snapshots" ADD CONSTRAINT "snapshots_sha256_blobs_sha256_fk" FOREIGN KEY ("sha256") REFERENCES "public"."blobs"("sha256") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "aliases" ADD CONSTRAINT "aliases_model_id_models_id_fk" FOREIGN KEY ("model_id") REFERENCES "public"."models"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "models" ADD CONSTRAINT "models_project_id_projects_id_fk" FOREIGN KEY ("project_id") REFERENCES "public"."projects"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "pins" ADD CONSTRAINT "pins_model_id_models_id_fk" FOREIGN KEY ("model_id") REFERENCES "public"."models"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "pins" ADD CONSTRAINT "pins_sha256_blobs_sha256_fk" FOREIGN KEY ("sha256") REFERENCES "public"."blobs"("sha256") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "promotions" ADD CONSTRAINT "promotions_model_id_models_id_fk" FOREIGN KEY ("model_id") REFERENCES "public"."models"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "promotions" ADD CONSTRAINT "promotions_run_id_runs_id_fk" FOREIGN KEY ("run_id") REFERENCES "public"."runs"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "versions" ADD CONSTRAINT "versions_model_id_models_id_fk" FOREIGN KEY ("model_id") REFERENCES "public"."models"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "versions" ADD CONSTRAINT "versions_run_id_runs_id_fk" FOREIGN KEY ("run_id") REFERENCES "public"."runs"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "run_data" ADD CONSTRAINT "run_data_run_id_runs_id_fk" FOREIGN KEY ("run_id") REFERENCES "public"."runs"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "run_data" ADD CONSTRAINT "run_data_snapshot_id_snapshots_id_fk" FOREIGN KEY ("snapshot_id") REFERENCES "public"."snapshots"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "executions" ADD CONSTRAINT "executions_run_id_runs_id_fk" FOREIGN KEY ("run_id") REFERENCES "public"."runs"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "runs" ADD CONSTRAINT "runs_project_id_projects_id_fk" FOREIGN KEY ("project_id") REFERENCES "public"."projects"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "runs" ADD CONSTRAINT "runs_patch_sha256_blobs_sha256_fk" FOREIGN KEY ("patch_sha256") REFERENCES "public"."blobs"("sha256") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "runs" ADD CONSTRAINT "runs_source_sha256_blobs_sha256_fk" FOREIGN KEY ("source_sha256") REFERENCES "public"."blobs"("sha256") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "runs" ADD CONSTRAINT "runs_manifest_sha256_blobs_sha256_fk" FOREIGN KEY ("manifest_sha256") REFERENCES "public"."blobs"("sha256") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "secrets" ADD CONSTRAINT "secrets_project_id_projects_id_fk" FOREIGN KEY ("project_id") REFERENCES "public"."projects"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "artifacts" ADD CONSTRAINT "artifacts_run_id_runs_id_fk" FOREIGN KEY ("run_id") REFERENCES "public"."runs"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "artifacts" ADD CONSTRAINT "artifacts_sha256_blobs_sha256_fk" FOREIGN KEY ("sha256") REFERENCES "public"."blobs"("sha256") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "attempts" ADD CONSTRAINT "attempts_run_id_runs_id_fk" FOREIGN KEY ("run_id") REFERENCES "public"."runs"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "log_chunks" ADD CONSTRAINT "log_chunks_run_id_runs_id_fk" FOREIGN KEY ("run_id") REFERENCES "public"."runs"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "log_chunks" ADD CONSTRAINT "log_chunks_sha256_blobs_sha256_fk" FOREIGN KEY ("sha256") REFERENCES "public"."blobs"("sha256") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "metrics" ADD CONSTRAINT "metrics_run_id_runs_id_fk" FOREIGN KEY ("run_id") REFERENCES "public"."runs"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "steps" ADD CONSTRAINT "steps_run_id_runs_id_fk" FOREIGN KEY ("run_id") REFERENCES "public"."runs"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "tokens" ADD CONSTRAINT "tokens_project_id_projects_id_fk" FOREIGN KEY ("project_id") REFERENCES "public"."projects"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "audit_by_target" ON "audit" USING btree ("target","id");--> statement-breakpoint
CREATE INDEX "lake_segments_by_table" ON "lake_segments" USING btree ("table_name","committed_at");--> statement-breakpoint
CREATE INDEX "models_by_project" ON "models" USING btree ("project_id");--> statement-breakpoint
CREATE INDEX "promotions_by_model" ON "promotions" USING btree ("model_id","id");--> statement-breakpoint
CREATE INDEX "executions_to_dispatch" ON "executions" USING btree ("created_at") WHERE dispatch in ('queued', 'starting');--> statement-breakpoint
CREATE INDEX "executions_open" ON "executions" USING btree ("created_at") WHERE dispatch = 'started';--> statement-breakpoint
CREATE INDEX "runs_by_submit" ON "runs" USING btree ("submitted_at","id");--> statement-breakpoint
CREATE INDEX "runs_by_project" ON "runs" USING btree ("project_id","submitted_at","id");--> statement-breakpoint
CREATE INDEX "runs_by_status" ON "runs" USING btree ("status","submitted_at","id");--> statement-breakpoint
CREATE INDEX "runs_tags" ON "runs" USING gin ("tags");--> statement-breakpoint
CREATE INDEX "artifacts_by_blob" ON "artifacts" USING btree ("sha256");--> statement-breakpoint
CREATE INDEX "attempts_by_node" ON "attempts" USING btree ("node_id","status");--> statement-breakpoint
CREATE INDEX "attempts_by_token" ON "attempts" USING btree ("token_hash");--> statement-breakpoint
CREATE INDEX "metrics_by_key" ON "metrics" USING btree ("key");--> statement-breakpoint
CREATE INDEX "steps_by_key" ON "steps" USING btree ("step_key");