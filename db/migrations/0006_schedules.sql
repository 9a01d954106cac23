CREATE TABLE "schedule_files" (
	"project_id" uuid PRIMARY KEY NOT NULL,
	"branch" text NOT NULL,
	"commit" text NOT NULL,
	"committed_at" timestamp (6) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "schedule_ticks" (
	"schedule_id" uuid NOT NULL,
	"nominal_at" timestamp(6) with time zone NOT NULL,
	"origin" text NOT NULL,
	"run_id" uuid,
	"skipped" text,
	"decided_at" timestamp (6) with time zone DEFAULT clock_timestamp() NOT NULL,
	CONSTRAINT "schedule_ticks_schedule_id_nominal_at_pk" PRIMARY KEY("schedule_id","nominal_at"),
	CONSTRAINT "schedule_ticks_one_outcome" CHECK ((run_id is null) <> (skipped is null))
);
--> statement-breakpoint
CREATE TABLE "schedules" (
	"id" uuid PRIMARY KEY NOT NULL,
	"project_id" uuid NOT NULL,
	"name" text NOT NULL,
	"cron" text NOT NULL,
	"timezone" text NOT NULL,
	"ref" text,
	"overrides" jsonb DEFAULT '{}'::jsonb NOT NULL,
	"experiment" text DEFAULT 'default' NOT NULL,
	"tags" text[] DEFAULT '{}'::text[] NOT NULL,
	"owner" text NOT NULL,
	"priority" integer DEFAULT 3 NOT NULL,
	"overlap" text NOT NULL,
	"catch_up_seconds" integer NOT NULL,
	"paused_at" timestamp (6) with time zone,
	"paused_by" text,
	"pause_note" text,
	"is_from_file" boolean DEFAULT false NOT NULL,
	"active_since" timestamp(6) with time zone DEFAULT clock_timestamp() NOT NULL,
	"version" integer DEFAULT 1 NOT NULL,
	"trouble" text,
	"created_by" text NOT NULL,
	"created_at" timestamp (6) with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp (6) with time zone DEFAULT now() NOT NULL,
	"deleted_at" timestamp (6) with time zone
);
--> statement-breakpoint
ALTER TABLE "schedule_files" ADD CONSTRAINT "schedule_files_project_id_projects_id_fk" FOREIGN KEY ("project_id") REFERENCES "public"."projects"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "schedule_ticks" ADD CONSTRAINT "schedule_ticks_schedule_id_schedules_id_fk" FOREIGN KEY ("schedule_id") REFERENCES "public"."schedules"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "schedule_ticks" ADD CONSTRAINT "schedule_ticks_run_id_runs_id_fk" FOREIGN KEY ("run_id") REFERENCES "public"."runs"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "schedules" ADD CONSTRAINT "schedules_project_id_projects_id_fk" FOREIGN KEY ("project_id") REFERENCES "public"."projects"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "schedule_ticks_by_run" ON "schedule_ticks" USING btree ("run_id");--> statement-breakpoint
CREATE UNIQUE INDEX "schedules_name" ON "schedules" USING btree ("project_id","name") WHERE deleted_at is null;--> statement-breakpoint
CREATE UNIQUE INDEX "schedules_from_file" ON "schedules" USING btree ("project_id") WHERE is_from_file;