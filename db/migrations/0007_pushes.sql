CREATE TABLE "commit_statuses" (
	"run_id" uuid PRIMARY KEY NOT NULL,
	"wanted" integer DEFAULT 1 NOT NULL,
	"sent" integer DEFAULT 0 NOT NULL,
	"shown" text,
	"attempts" integer DEFAULT 0 NOT NULL,
	"next_attempt_at" timestamp (6) with time zone DEFAULT now() NOT NULL,
	"lease_expires_at" timestamp (6) with time zone,
	"failure" text
);
--> statement-breakpoint
CREATE TABLE "deliveries" (
	"id" uuid PRIMARY KEY NOT NULL,
	"project_id" uuid NOT NULL,
	"source" text NOT NULL,
	"delivery_id" text NOT NULL,
	"ref" text,
	"branch" text,
	"before" text,
	"commit" text,
	"outcome" text NOT NULL,
	"reason" text,
	"run_id" uuid,
	"attempts" integer DEFAULT 0 NOT NULL,
	"next_attempt_at" timestamp (6) with time zone DEFAULT now() NOT NULL,
	"failure" text,
	"received_at" timestamp (6) with time zone DEFAULT now() NOT NULL,
	"settled_at" timestamp (6) with time zone,
	CONSTRAINT "deliveries_once" UNIQUE("project_id","source","delivery_id"),
	CONSTRAINT "deliveries_run" CHECK ((outcome = 'run') = (run_id is not null)),
	CONSTRAINT "deliveries_reason" CHECK ((outcome = 'ignored') = (reason is not null))
);
--> statement-breakpoint
CREATE TABLE "remote_polls" (
	"project_id" uuid PRIMARY KEY NOT NULL,
	"heads" jsonb,
	"next_at" timestamp (6) with time zone DEFAULT now() NOT NULL,
	"polled_at" timestamp (6) with time zone,
	"failures" integer DEFAULT 0 NOT NULL,
	"failure" text
);
--> statement-breakpoint
CREATE TABLE "hook_secrets" (
	"project_id" uuid NOT NULL,
	"version" integer NOT NULL,
	"sealed" "bytea",
	"created_by" text NOT NULL,
	"created_at" timestamp (6) with time zone DEFAULT now() NOT NULL,
	"expires_at" timestamp (6) with time zone,
	CONSTRAINT "hook_secrets_project_id_version_pk" PRIMARY KEY("project_id","version")
);
--> statement-breakpoint
ALTER TABLE "projects" ADD COLUMN "poll_seconds" integer;--> statement-breakpoint
ALTER TABLE "projects" ADD COLUMN "host_kind" text;--> statement-breakpoint
ALTER TABLE "commit_statuses" ADD CONSTRAINT "commit_statuses_run_id_runs_id_fk" FOREIGN KEY ("run_id") REFERENCES "public"."runs"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "deliveries" ADD CONSTRAINT "deliveries_project_id_projects_id_fk" FOREIGN KEY ("project_id") REFERENCES "public"."projects"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "deliveries" ADD CONSTRAINT "deliveries_run_id_runs_id_fk" FOREIGN KEY ("run_id") REFERENCES "public"."runs"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "remote_polls" ADD CONSTRAINT "remote_polls_project_id_projects_id_fk" FOREIGN KEY ("project_id") REFERENCES "public"."projects"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "hook_secrets" ADD CONSTRAINT "hook_secrets_project_id_projects_id_fk" FOREIGN KEY ("project_id") REFERENCES "public"."projects"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "commit_statuses_due" ON "commit_statuses" USING btree ("next_attempt_at") WHERE wanted > sent;--> statement-breakpoint
CREATE UNIQUE INDEX "deliveries_one_run" ON "deliveries" USING btree ("project_id","branch","commit") WHERE run_id is not null;--> statement-breakpoint
CREATE INDEX "deliveries_due" ON "deliveries" USING btree ("project_id","next_attempt_at") WHERE outcome = 'accepted';--> statement-breakpoint
CREATE INDEX "deliveries_by_project" ON "deliveries" USING btree ("project_id","id");--> statement-breakpoint
CREATE INDEX "deliveries_by_commit" ON "deliveries" USING btree ("project_id","branch","commit");