CREATE TABLE "quotas" (
	"kind" text NOT NULL,
	"name" text NOT NULL,
	"runs" integer,
	"stages" integer,
	"devices" integer,
	"set_by" text NOT NULL,
	"set_at" timestamp (6) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "quotas_kind_name_pk" PRIMARY KEY("kind","name")
);
--> statement-breakpoint
DROP INDEX "executions_to_dispatch";--> statement-breakpoint
ALTER TABLE "nodes" ADD COLUMN "devices" jsonb DEFAULT '[]'::jsonb NOT NULL;--> statement-breakpoint
ALTER TABLE "nodes" ADD COLUMN "state" text DEFAULT 'active' NOT NULL;--> statement-breakpoint
ALTER TABLE "nodes" ADD COLUMN "state_reason" text;--> statement-breakpoint
ALTER TABLE "nodes" ADD COLUMN "state_by" text;--> statement-breakpoint
ALTER TABLE "nodes" ADD COLUMN "state_since" timestamp (6) with time zone DEFAULT now() NOT NULL;--> statement-breakpoint
ALTER TABLE "nodes" ADD COLUMN "stops_stages" boolean DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE "executions" ADD COLUMN "project_id" uuid;--> statement-breakpoint
ALTER TABLE "executions" ADD COLUMN "owner" text;--> statement-breakpoint
ALTER TABLE "executions" ADD COLUMN "priority" integer;--> statement-breakpoint
ALTER TABLE "steps" ADD COLUMN "waits_for" text;--> statement-breakpoint
ALTER TABLE "steps" ADD COLUMN "waiting_since" timestamp (6) with time zone;--> statement-breakpoint
ALTER TABLE "steps" ADD COLUMN "pool" text;--> statement-breakpoint
ALTER TABLE "steps" ADD COLUMN "devices" integer;--> statement-breakpoint
ALTER TABLE "executions" ADD CONSTRAINT "executions_project_id_projects_id_fk" FOREIGN KEY ("project_id") REFERENCES "public"."projects"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "nodes_by_pool" ON "nodes" USING btree ("pool");--> statement-breakpoint
CREATE INDEX "executions_queued" ON "executions" USING btree ("priority","created_at") WHERE dispatch = 'queued';--> statement-breakpoint
CREATE INDEX "executions_queued_by_group" ON "executions" USING btree ("project_id","owner","priority","created_at") WHERE dispatch = 'queued';--> statement-breakpoint
CREATE INDEX "executions_under_way" ON "executions" USING btree ("project_id","owner","dispatched_at") WHERE dispatch in ('starting', 'started');--> statement-breakpoint
CREATE INDEX "executions_starting" ON "executions" USING btree ("dispatched_at") WHERE dispatch = 'starting';--> statement-breakpoint
CREATE INDEX "attempts_newest_of_node" ON "attempts" USING btree ("node_id","created_at");--> statement-breakpoint
CREATE INDEX "attempts_open" ON "attempts" USING btree ("node_id") WHERE status in ('starting', 'running');--> statement-breakpoint
CREATE INDEX "steps_waiting" ON "steps" USING btree ("pool","waiting_since") WHERE kind = 'stage' and status = 'waiting';--> statement-breakpoint
CREATE INDEX "steps_open" ON "steps" USING btree ("run_id") WHERE kind = 'stage' and status in ('waiting', 'running');